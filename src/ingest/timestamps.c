/*
 * timestamps.c
 *		Reads the timestamps of clients: RFC 3339, without a throw and without a
 *		setting that could change what they mean.
 */
#include "postgres.h"

#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "ingest/timestamps.h"

/*
 * Reads "digits" digits as a number into *value; returns what follows, or NULL.
 */
static const char *
read_digits(const char *p, const char *end, int digits, int *value)
{
	if (p == NULL || end - p < digits)
		return NULL;
	*value = 0;
	for (int i = 0; i < digits; i++)
	{
		if (p[i] < '0' || p[i] > '9')
			return NULL;
		*value = *value * 10 + (p[i] - '0');
	}
	return p + digits;
}

/* What follows the expected character, or NULL; NULL in is NULL out, so that calls can be chained. */
static const char *
read_char(const char *p, const char *end, char expected)
{
	return p != NULL && p < end && *p == expected ? p + 1 : NULL;
}

/*
 * Reads ".digits", if there; digits after the ninth say nothing to us.
 */
static const char *
read_fraction(const char *p, const char *end, int *nanoseconds)
{
	int			unit = 100000000;

	*nanoseconds = 0;
	if (p == NULL || p >= end || *p != '.')
		return p;
	p++;
	if (p >= end || *p < '0' || *p > '9')
		return NULL;
	for (; p < end && *p >= '0' && *p <= '9'; p++, unit /= 10)
		*nanoseconds += (*p - '0') * unit;
	return p;
}

/* Reads "Z", "+hh:mm", "+hhmm" or "+hh" as minutes east of UTC; up to 15:59, as PostgreSQL has it. */
static const char *
read_zone(const char *p, const char *end, int *minutes)
{
	int			sign;
	int			hour;
	int			minute = 0;

	*minutes = 0;
	if (p == NULL || p >= end)
		return NULL;
	if (*p == 'Z' || *p == 'z')
		return p + 1;
	if (*p != '+' && *p != '-')
		return NULL;
	sign = *p == '-' ? -1 : 1;
	p = read_digits(p + 1, end, 2, &hour);
	if (p != NULL && p < end)
	{
		if (*p == ':')
			p++;
		p = read_digits(p, end, 2, &minute);
	}
	if (p == NULL || hour > 15 || minute > 59)
		return NULL;
	*minutes = sign * (hour * 60 + minute);
	return p;
}

/*
 * Reads "YYYY-MM-DDThh:mm:ss[.fraction]zone" (RFC 3339; a blank may stand for the T, and the zone
 * may be shorter) into microseconds, and what is left below a microsecond into nanoseconds (0 to
 * 999). False if it is none: then neither is to be used. No setting changes what a text means.
 */
bool
tex_parse_timestamp(const char *text, int len, TimestampTz *timestamp, int *nanoseconds)
{
	const char *end = text + len;
	const char *p;
	int			year,
				month,
				day,
				hour,
				minute,
				second,
				zone;

	p = read_digits(text, end, 4, &year);
	p = read_digits(read_char(p, end, '-'), end, 2, &month);
	p = read_digits(read_char(p, end, '-'), end, 2, &day);
	if (p == NULL || p >= end || (*p != 'T' && *p != 't' && *p != ' '))
		return false;
	p = read_digits(p + 1, end, 2, &hour);
	p = read_digits(read_char(p, end, ':'), end, 2, &minute);
	p = read_digits(read_char(p, end, ':'), end, 2, &second);
	p = read_fraction(p, end, nanoseconds);
	p = read_zone(p, end, &zone);

	/* Second 60 is a leap second, the begin of the next minute. */
	if (p != end || year < 1 || month < 1 || month > 12 ||
		day < 1 || day > day_tab[isleap(year)][month - 1] ||
		hour > 23 || minute > 59 || second > 60)
		return false;

	*timestamp = (int64) (date2j(year, month, day) - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY +
		((hour * 60 + minute - zone) * 60 + second) * USECS_PER_SEC +
		*nanoseconds / 1000;
	*nanoseconds %= 1000;
	return true;
}
