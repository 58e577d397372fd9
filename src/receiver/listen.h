/*
 * listen.h
 *		Where the receiver listens, and the token that clients must have.
 */
#ifndef TEX_RECEIVER_LISTEN_H
#define TEX_RECEIVER_LISTEN_H

extern int	tex_listen(const char *address, bool *loopback, const char **problem);
extern char *tex_token_read(const char *path, const char **problem);
extern bool tex_token_matches(const char *token, const char *sent);

#endif							/* TEX_RECEIVER_LISTEN_H */
