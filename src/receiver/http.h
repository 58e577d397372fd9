/*
 * http.h
 *		The door of the receiver: connections, requests, and answers to them.
 */
#ifndef TEX_RECEIVER_HTTP_H
#define TEX_RECEIVER_HTTP_H

#include "receiver/request.h"

extern int64 tex_http_now(void);

extern bool tex_http_start(int listen_fd, int most_clients);
extern void tex_http_set_token(char *token);
extern int	tex_http_fd(void);
extern void tex_http_run(void);
extern long tex_http_wait_ms(void);
extern int	tex_http_take(TexRequest **requests, int most, size_t most_bytes);
extern void tex_http_put_back(TexRequest *request);
extern void tex_http_answer(TexRequest *request);
extern void tex_http_excuse(int64 us);
extern void tex_http_close_door(void);
extern bool tex_http_is_busy(void);
extern void tex_http_stop(void);

#endif							/* TEX_RECEIVER_HTTP_H */
