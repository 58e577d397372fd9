/*
 * race_picture.h
 *		Two who raced, drawn as two lanes.
 */
#ifndef TEX_RACE_PICTURE_H
#define TEX_RACE_PICTURE_H

#include "lib/stringinfo.h"

#include "races/happens_before.h"

/* What is known of a finding, or of a pair that is none yet. Texts are as clients sent them. */
typedef struct TexRaceFacts
{
	const char *kind;
	const char *severity;
	const char *variable;
	const char *evidence;		/* the sentence */
	const char *seen;			/* how often and when, or NULL */
	double		confidence;
	int32		first;			/* the events, or TEX_NO_EVENT if they are no longer stored */
	int32		second;
} TexRaceFacts;

extern void tex_race_picture(StringInfo out, const TexHistory *history, const TexOrder *order,
							 const TexRaceFacts *facts, bool in_page);
extern bool tex_finding_picture(StringInfo out, const pg_uuid_t *finding_id, bool in_page);

#endif							/* TEX_RACE_PICTURE_H */
