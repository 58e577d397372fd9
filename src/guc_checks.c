/*
 * guc_checks.c
 *		Which values settings take: texts that have to be read are judged when they are set.
 */
#include "postgres.h"

#include <ctype.h>
#include <math.h>

#include "miscadmin.h"
#include "utils/datetime.h"
#include "utils/guc.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "common/worker_slots.h"
#include "guc.h"
#include "guc_checks.h"

/* The longest age that can be taken off a time of today. */
#define MAX_AGE_YEARS 1000

/* Whether each number has a unit: 30 would be seconds, 1-2 a year and two months. */
static bool
units_are_given(char **field, const int *ftype, int nfields)
{
	for (int i = 0; i < nfields; i++)
	{
		bool		is_number = ftype[i] == DTK_NUMBER || (ftype[i] == DTK_TZ && strchr(field[i], ':') == NULL);

		if (ftype[i] == DTK_DATE || (is_number && (i + 1 == nfields || ftype[i + 1] != DTK_STRING)))
			return false;
	}
	return true;
}

/* The same of ISO 8601: P1DT2H, not P0001-02-03. */
static bool
iso_units_are_given(const char *text)
{
	for (const char *p = text; (p = strpbrk(p, "0123456789")) != NULL;)
	{
		p += strspn(p, "0123456789.,");
		if (!isalpha((unsigned char) *p))
			return false;
	}
	return true;
}

/*
 * Reads an interval as interval_in() does, by which the jobs that go by a setting
 * read it, but without throwing: settings are judged outside transactions too.
 * False where that would fail, and where a number has no unit.  A minus that comes
 * first stands for all numbers in one IntervalStyle and for the first in the others:
 * all are negative then, as no setting may be.
 */
static bool
read_interval(char *text, int64 *months, int64 *days, double *seconds)
{
	char		work[256];
	char	   *field[MAXDATEFIELDS];
	int			ftype[MAXDATEFIELDS];
	int			nfields = 0;
	int			dtype;
	struct pg_itm_in fields;
	Interval	interval;
	int			problem;
	bool		given = false;

	memset(&fields, 0, sizeof(fields));
	problem = ParseDateTime(text, work, sizeof(work), field, ftype, MAXDATEFIELDS, &nfields);
	if (problem == 0)
	{
		given = units_are_given(field, ftype, nfields);
		problem = DecodeInterval(field, ftype, nfields, INTERVAL_FULL_RANGE, &dtype, &fields);
	}
	if (problem == DTERR_BAD_FORMAT)
	{
		given = iso_units_are_given(text);
		problem = DecodeISO8601Interval(text, &dtype, &fields);
	}
	if (problem != 0 || !given || dtype != DTK_DELTA || itmin2interval(&fields, &interval) != 0)
		return false;
	*months = interval.month;
	*days = interval.day;
	*seconds = interval.time / 1e6;
	if (text[strspn(text, " \t\n")] == '-')
		*months = *days = *seconds = -1;
	return true;
}

/* The same for a check: says why it is refused, or, should the caller refuse it, what would be right. */
static bool
judge_interval(char *text, const char *hint, int64 *months, int64 *days, double *seconds)
{
	GUC_check_errcode(ERRCODE_INVALID_PARAMETER_VALUE);
	GUC_check_errhint("%s", hint);
	if (read_interval(text, months, days, seconds))
		return true;
	GUC_check_errdetail("It is no interval in which each number has a unit.");
	return false;
}

/*
 * An age or nothing.  Judged when it is set, so that no job of retention fails by
 * it later.
 */
bool
tex_check_retention_age(char **value, void **extra, GucSource source)
{
	int64		months;
	int64		days;
	double		seconds;

	if ((*value)[strspn(*value, " \t\n")] == '\0')
	{
		(*value)[0] = '\0';
		return true;
	}
	if (!judge_interval(*value, "Write a number and a unit, as '30 days' or '12 hours'; '' keeps traces for ever.",
						&months, &days, &seconds))
		return false;
	if (months < 0 || days < 0 || seconds < 0 ||
		months * 30 + days + seconds / 86400 < 1.0 / 86400)
	{
		GUC_check_errdetail("An age is positive, at least a second.");
		return false;
	}
	if (months / 12 + days / 366 + seconds / 86400 / 366 > MAX_AGE_YEARS)
	{
		GUC_check_errdetail("An age is at most %d years.", MAX_AGE_YEARS);
		return false;
	}
	return true;
}

/* Days of UTC are cut into partitions, so months, whose length varies, are none. */
bool
tex_check_partition_interval(char **value, void **extra, GucSource source)
{
	int64		months;
	int64		days;
	double		seconds;

	if (!judge_interval(*value, "Write a number and a unit, as '1 day', '6 hours' or '1 week'.",
						&months, &days, &seconds))
		return false;
	if (months != 0 || days < 0 || seconds < 0 || days > 3660 || seconds > 366.0 * 86400 ||
		days + seconds == 0 || fmod(seconds, 3600) != 0)
	{
		GUC_check_errdetail("It is not a number of whole hours, days or weeks, or more than ten years.");
		return false;
	}
	return true;
}

/* How far back partitions are made; none at all ('0 days') is a reach as well. */
bool
tex_check_partition_reach(char **value, void **extra, GucSource source)
{
	int64		months;
	int64		days;
	double		seconds;

	if (read_interval(*value, &months, &days, &seconds) && months >= 0 && days >= 0 && seconds >= 0)
		return true;
	GUC_check_errcode(ERRCODE_INVALID_PARAMETER_VALUE);
	GUC_check_errdetail("It is no interval in which each number has a unit, or it is negative.");
	GUC_check_errhint("Write a number and a unit, as '1 year' or '90 days'.");
	return false;
}

/* Rollups have whole hours, and a year of them is summed up for an event that is late. */
bool
tex_check_baseline_window(char **value, void **extra, GucSource source)
{
	int64		months;
	int64		days;
	double		seconds;

	if (!judge_interval(*value, "Write a number and a unit, as '7 days' or '12 hours'.",
						&months, &days, &seconds))
		return false;
	if (months < 0 || days < 0 || seconds < 0 ||
		months * 30 + days + seconds / 86400 < 1.0 / 24 ||
		months * 30.5 + days + seconds / 86400 > 366)
	{
		GUC_check_errdetail("A window is an hour at least and a year at most.");
		return false;
	}
	return true;
}

/*
 * The next prefix in trace_ext.global_locks, from *rest on, which is moved behind it;
 * NULL at the end.  Prefixes are between commas; blanks around them are none of theirs,
 * blanks within are.
 */
const char *
tex_next_lock_prefix(const char **rest, size_t *len)
{
	const char *prefix = *rest + strspn(*rest, " \t\n");
	const char *end = prefix + strcspn(prefix, ",");

	if (**rest == '\0')
		return NULL;
	*rest = end + (*end == ',');
	while (end > prefix && strchr(" \t\n", end[-1]) != NULL)
		end--;
	*len = end - prefix;
	return prefix;
}

/* An empty one would make all locks global. */
bool
tex_check_global_locks(char **value, void **extra, GucSource source)
{
	const char *rest = *value + strspn(*value, " \t\n");
	size_t		len = 1;

	if (*rest == '\0')
		return true;
	while (len > 0 && tex_next_lock_prefix(&rest, &len) != NULL)
		;
	/* After a last comma one is missing. */
	if (len > 0 && rest[-1] != ',')
		return true;
	GUC_check_errcode(ERRCODE_INVALID_PARAMETER_VALUE);
	GUC_check_errdetail("A prefix is empty.");
	GUC_check_errhint("Write prefixes between commas, as 'redis:,db:'; '' names none.");
	return false;
}

/* A name without its schema could be anybody's function. */
bool
tex_check_trusted_functions(char **value, void **extra, GucSource source)
{
	List	   *names;
	ListCell   *cell;

	if (!SplitGUCList(pstrdup(*value), ',', &names))
	{
		GUC_check_errdetail("List syntax is invalid.");
		return false;
	}
	foreach(cell, names)
	{
		if (strchr(lfirst(cell), '.') == NULL)
		{
			GUC_check_errdetail("\"%s\" lacks its schema.", (char *) lfirst(cell));
			GUC_check_errhint("Say for example \"app.total, reports.*\".");
			return false;
		}
	}
	return true;
}

/*
 * Splits "host:port", "[host]:port" or "*:port" into a host, copied without brackets, and a
 * port, which stays where it is; false where it is none of these.
 */
bool
tex_split_address(const char *address, char *host, size_t room, const char **port)
{
	const char *colon = strrchr(address, ':');
	const char *end = colon;
	size_t		digits;

	if (colon == NULL)
		return false;
	*port = colon + 1;
	digits = strspn(*port, "0123456789");
	if (digits == 0 || digits > 5 || (*port)[digits] != '\0' || atoi(*port) < 1 || atoi(*port) > 65535)
		return false;
	if (*address == '[')
	{
		address++;
		end--;
		if (*end != ']')
			return false;
	}
	else if (memchr(address, ':', colon - address) != NULL)
		return false;
	if (end <= address || (size_t) (end - address) >= room)
		return false;
	memcpy(host, address, end - address);
	host[end - address] = '\0';
	return true;
}

/* An address or nothing; whether it can be had, only the receiver finds out. */
bool
tex_check_otlp_listen(char **value, void **extra, GucSource source)
{
	char		host[256];
	const char *port;

	if (**value == '\0' || tex_split_address(*value, host, sizeof(host), &port))
		return true;
	GUC_check_errcode(ERRCODE_INVALID_PARAMETER_VALUE);
	GUC_check_errdetail("It is no host and port.");
	GUC_check_errhint("Write '127.0.0.1:4318', '[::1]:4318' or '*:4318'; '' is off.");
	return false;
}

/* A quota counts in shared memory, over all sessions of a role. */
bool
tex_check_ingest_quota(int *value, void **extra, GucSource source)
{
	if (*value == 0 || tex_workers != NULL || process_shared_preload_libraries_in_progress)
		return true;
	GUC_check_errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE);
	GUC_check_errdetail("There are no quotas where the server does not preload the library.");
	GUC_check_errhint("Add trace_ext to shared_preload_libraries and restart the server.");
	return false;
}
