/*
 * answers.h
 *		What the receiver answers, in the encoding of the request.
 */
#ifndef TEX_RECEIVER_ANSWERS_H
#define TEX_RECEIVER_ANSWERS_H

#include "receiver/request.h"

/* The longest answer: a text whose every byte is escaped, and what is around it. */
#define TEX_ANSWER_ROOM (6 * TEX_ANSWER_TEXT + 256)

extern void tex_answer_set_text(TexRequest *request, const char *text);
extern void tex_answer_refuse(TexRequest *request, int status, TexRefusal refusal, const char *text);
extern size_t tex_answer_write(const TexRequest *request, char *out);
extern const char *tex_answer_type(const TexRequest *request);

#endif							/* TEX_RECEIVER_ANSWERS_H */
