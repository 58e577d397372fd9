/*
 * requests.c
 *		Which request an answer in the same span comes after.
 *
 * The answer to a request (HttpResponse) has the time that the request took, but not what was asked
 * for: that is told by the last request before it in its span.  Of two of one time the one with the
 * smallest id counts, so that it is the same one in whatever order they were read.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "analysis/requests.h"

/* The requests of a span one after another. */
static inline int
compare_spans(const TexRequest *x, const TexRequest *y)
{
	if (x->trace != y->trace)
		return x->trace < y->trace ? -1 : 1;
	if (x->service != y->service)
		return x->service < y->service ? -1 : 1;
	if (x->span != y->span)
		return x->span < y->span ? -1 : 1;
	return 0;
}

/* For qsort(): by span, the last of them last; of one time the smallest id. */
static int
compare_requests(const void *a, const void *b)
{
	const TexRequest *x = a;
	const TexRequest *y = b;
	int			order = compare_spans(x, y);

	CHECK_FOR_INTERRUPTS();
	if (order != 0)
		return order;
	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	return memcmp(&y->id, &x->id, sizeof(pg_uuid_t));
}

/* Sorts requests, so that tex_request_before() finds them. */
void
tex_requests_sort(TexRequest *requests, int32 n)
{
	qsort(requests, n, sizeof(TexRequest), compare_requests);
}

/* The request before an answer in its span, or NULL. */
const TexRequest *
tex_request_before(const TexRequest *requests, int32 n, int32 trace, int32 service, int32 span, TimestampTz at)
{
	TexRequest	answer = {.trace = trace,.service = service,.span = span};
	int32		low = 0;
	int32		high = n;

	/* The first one that is after the answer, or of a later span. */
	while (low < high)
	{
		int32		middle = low + (high - low) / 2;
		int			order = compare_spans(&requests[middle], &answer);

		if (order < 0 || (order == 0 && requests[middle].at <= at))
			low = middle + 1;
		else
			high = middle;
	}
	return low > 0 && compare_spans(&requests[low - 1], &answer) == 0 ? &requests[low - 1] : NULL;
}
