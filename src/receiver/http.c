/*
 * http.c
 *		The door of the receiver: connections, requests, and answers to them.
 *
 * libmicrohttpd speaks HTTP, in this process and only while tex_http_run() runs: it has an epoll
 * descriptor that the receiver waits for beside its latch.  Its callbacks are between frames of
 * the library, so none of them may throw: they decide, copy and count, with memory of malloc().
 * A request whose body is there waits in a list, its connection suspended, until the receiver
 * has stored it and tex_http_answer() lets it go on.
 *
 *		HEAD -> BODY -> STORING -> ANSWER -> IDLE -> BODY ...
 *
 * Each of these but STORING has a deadline of its own, whatever the client dribbles.  A request
 * is refused as soon as it is clear that it will be, but answered when its body is over, so that
 * the client reads the answer instead of an error of its socket; what comes meanwhile is thrown
 * away.  Only who asks before he sends (Expect) is told at once.
 */
#include "postgres.h"

#include <microhttpd.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "receiver/answers.h"
#include "receiver/http.h"
#include "receiver/listen.h"

#define US INT64CONST(1000000)

/* For a request to come, for its answer to leave; and for the next request of a connection. */
#define SLOW_US (10 * US)
#define IDLE_US (60 * US)

/* More connections than are served get an answer that says so; yet more wait to be accepted. */
#define MORE_CLIENTS 64

/* A head must fit in that; a body passes through. */
#define CONNECTION_BYTES 16384

/* Reading goes on while there is something to read, for that long: bodies of other clients join the batch. */
#define READ_US 3000

typedef enum Phase
{
	HEAD,						/* no request yet */
	BODY,						/* it comes */
	STORING,					/* it waits for the receiver */
	ANSWER,						/* its answer leaves */
	IDLE,						/* answered; the next one may come */
	CUT							/* given up; the library has not noticed yet */
} Phase;

/* A connection. */
struct TexClient
{
	dlist_node	node;
	int			fd;
	Phase		phase;
	int64		deadline;
	TexRequest *request;		/* in BODY, STORING, ANSWER */
};

static struct MHD_Daemon *daemon_of_all = NULL;
static int	epoll_fd = -1;
static char *token = NULL;
static int	most_clients;

static dlist_head clients = DLIST_STATIC_INIT(clients);
static int	client_count = 0;

/* Of those, that were given up, and do not count as served any more. */
static int	cut_count = 0;
static dlist_head ready = DLIST_STATIC_INIT(ready);
static int	ready_count = 0;

/* The receiver ends: what comes from now on is refused. */
static bool closing = false;

/* ----------------------------------------------------------------
 *		Small things
 * ----------------------------------------------------------------
 */
/* Microseconds of a clock that nobody sets. */
int64
tex_http_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * US + now.tv_nsec / 1000;
}

static void
count_refusal(TexRefusal refusal)
{
	pg_atomic_fetch_add_u64(&tex_receiver->refused[refusal], 1);
}

/* Refuses a request; of its body nothing is kept. */
static void
refuse(TexRequest *request, int status, TexRefusal refusal, const char *text)
{
	tex_answer_refuse(request, status, refusal, text);
	tex_bytes_free(&request->body);
}

static void
set_phase(TexClient *client, Phase phase)
{
	if (client == NULL)
		return;
	client->phase = phase;
	client->deadline = phase == STORING || phase == CUT ? PG_INT64_MAX :
		tex_http_now() + (phase == IDLE ? IDLE_US : SLOW_US);
}

/* ----------------------------------------------------------------
 *		The head of a request
 * ----------------------------------------------------------------
 */
static const char *
header(struct MHD_Connection *connection, const char *name)
{
	return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

/* The door that a path names; false where there is none. */
static bool
find_door(const char *path, TexDoor *door)
{
	static const char *const paths[TEX_DOORS] = {"/v1/traces", "/v1/logs", "/events"};

	for (int i = 0; i < TEX_DOORS; i++)
	{
		if (strcmp(path, paths[i]) == 0)
		{
			*door = i;
			return true;
		}
	}
	return false;
}

/* Does a header's value begin with that word, whatever its parameters? */
static bool
is_type(const char *value, const char *type)
{
	size_t		len = strlen(type);

	value += strspn(value, " \t");
	return pg_strncasecmp(value, type, len) == 0 && strchr("; \t", value[len]) != NULL;
}

/* JSON is UTF-8, whatever else a client calls it. */
static bool
is_utf8(const char *value)
{
	const char *charset = strchr(value, ';');

	while (charset != NULL)
	{
		charset += 1 + strspn(charset + 1, " \t");
		if (pg_strncasecmp(charset, "charset=", 8) == 0)
		{
			charset += 8 + (charset[8] == '"');
			return pg_strncasecmp(charset, "utf-8", 5) == 0 || pg_strncasecmp(charset, "utf8", 4) == 0 ||
				pg_strncasecmp(charset, "us-ascii", 8) == 0;
		}
		charset = strchr(charset, ';');
	}
	return true;
}

/* Sets how the body is encoded; refuses what is not understood. */
static void
judge_types(TexRequest *request, struct MHD_Connection *connection)
{
	const char *type = header(connection, MHD_HTTP_HEADER_CONTENT_TYPE);
	const char *coding = header(connection, MHD_HTTP_HEADER_CONTENT_ENCODING);

	if (type != NULL && is_type(type, "application/x-protobuf") && request->door != TEX_DOOR_EVENTS)
		request->json = false;
	else if (type == NULL || !is_type(type, "application/json") || !is_utf8(type))
		refuse(request, 415, TEX_REFUSED_WRONG, request->door == TEX_DOOR_EVENTS ?
			   "send application/json, in UTF-8" : "send application/x-protobuf, or application/json in UTF-8");
	if (coding == NULL || *coding == '\0' || pg_strcasecmp(coding, "identity") == 0)
		return;
	if (pg_strcasecmp(coding, "gzip") == 0 || pg_strcasecmp(coding, "x-gzip") == 0)
		request->gzip = true;
	else
		refuse(request, 415, TEX_REFUSED_WRONG, "send the body as it is, or with gzip");
}

/* How long the body will be, as the client says; 0 where he does not, or lies. */
static size_t
announced(struct MHD_Connection *connection)
{
	const char *length = header(connection, MHD_HTTP_HEADER_CONTENT_LENGTH);
	unsigned long long n = length != NULL ? strtoull(length, NULL, 10) : 0;

	return n > SIZE_MAX / 2 ? SIZE_MAX / 2 : (size_t) n;
}

/* What a walk over the headers of a request finds. */
typedef struct Frame
{
	int			lengths;
	int			codings;
	bool		chunked;		/* the last coding is, and nothing else */
	bool		odd;			/* a name that is none */
} Frame;

/* MHD_KeyValueIterator: notes a header. */
static enum MHD_Result
note_header(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
	Frame	   *frame = cls;

	for (const char *p = name; *p != '\0'; p++)
		frame->odd |= (unsigned char) *p <= ' ' || (unsigned char) *p >= 0x7F || strchr("()<>@,;:\\\"/[]?={}", *p) != NULL;
	frame->odd |= *name == '\0';
	frame->lengths += pg_strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0;
	if (pg_strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0)
	{
		frame->codings++;
		frame->chunked = value != NULL && pg_strcasecmp(value, "chunked") == 0;
	}
	return MHD_YES;
}

/*
 * Refuses a request of which it can be doubted where it ends: a proxy may have gone by the other of two
 * lengths, or by a coding or name that the library passes over, and take the rest for another request.
 */
static void
judge_frame(TexRequest *request, struct MHD_Connection *connection, const char *version)
{
	Frame		frame = {0};

	(void) MHD_get_connection_values(connection, MHD_HEADER_KIND, note_header, &frame);
	if (frame.lengths + frame.codings <= 1 && !frame.odd &&
		(frame.codings == 0 || (frame.chunked && strcmp(version, MHD_HTTP_VERSION_1_1) == 0)))
		return;
	refuse(request, 400, TEX_REFUSED_MALFORMED, frame.odd ? "a header has no proper name" :
		   frame.lengths + frame.codings > 1 ? "the body has two lengths" : "the length of the body is not known");
	request->wants_close = true;
}

/* Decides what can be decided before the body comes.  Who is not known learns nothing else. */
static void
judge_head(TexRequest *request, struct MHD_Connection *connection, const char *path, const char *method, const char *version)
{
	bool		found = find_door(path, &request->door);

	request->json = true;
	judge_types(request, connection);
	request->expected = announced(connection);
	if (token != NULL && !tex_token_matches(token, header(connection, MHD_HTTP_HEADER_AUTHORIZATION)))
	{
		request->status = 0;
		refuse(request, 401, TEX_REFUSED_UNAUTHORIZED, "send the token of this receiver");
		/* He has no claim to a place among the connections. */
		request->wants_close = true;
	}
	/* Any page that a browser on this machine shows could write here, were it not for that. */
	else if (token == NULL && header(connection, MHD_HTTP_HEADER_ORIGIN) != NULL)
	{
		request->status = 0;
		refuse(request, 403, TEX_REFUSED_UNAUTHORIZED, "pages of browsers may not send without a token");
	}
	else if (!found || strcmp(method, MHD_HTTP_METHOD_POST) != 0)
	{
		request->status = 0;
		if (found)
			refuse(request, 405, TEX_REFUSED_WRONG, "POST is all that is done here");
		else
			refuse(request, 404, TEX_REFUSED_WRONG, "there are /v1/traces, /v1/logs and /events");
	}
	judge_frame(request, connection, version);
	if (client_count - cut_count > most_clients)
	{
		refuse(request, 503, TEX_REFUSED_OVERLOAD, "there are too many connections");
		request->wants_close = true;
	}
	if (closing)
	{
		refuse(request, 503, TEX_REFUSED_OVERLOAD, "the receiver is shutting down");
		request->wants_close = true;
	}
	if (request->expected > TEX_MOST_BODY)
		refuse(request, 413, TEX_REFUSED_TOO_LARGE, "a body has 16 MB at most");
}

/* ----------------------------------------------------------------
 *		The body, and the answer
 * ----------------------------------------------------------------
 */
/* Keeps a part of a body. */
static void
take_part(TexRequest *request, const char *part, size_t len)
{
	if (request->status != 0)
		return;
	switch (tex_bytes_keep(&request->body, part, len, request->expected))
	{
		case TEX_KEPT:
			break;
		case TEX_TOO_LARGE:
			refuse(request, 413, TEX_REFUSED_TOO_LARGE, "a body has 16 MB at most");
			break;
		case TEX_FULL:
			refuse(request, 503, TEX_REFUSED_OVERLOAD, "the receiver has all the bodies that it can hold");
			break;
		case TEX_NO_ROOM:
			refuse(request, 503, TEX_REFUSED_OVERLOAD, "the receiver has no memory or disk for the body");
			break;
	}
}

/* Has the answer to a decided request sent. */
static enum MHD_Result
answer(struct MHD_Connection *connection, TexRequest *request)
{
	char		body[TEX_ANSWER_ROOM];
	char		seconds[16];
	size_t		len = tex_answer_write(request, body);
	struct MHD_Response *response = MHD_create_response_from_buffer(len, body, MHD_RESPMEM_MUST_COPY);
	enum MHD_Result result;

	if (response == NULL)
		return MHD_NO;
	(void) MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, tex_answer_type(request));
	if (request->status == 503 || request->status == 429)
	{
		snprintf(seconds, sizeof(seconds), "%d", Max(request->retry_after, 1));
		(void) MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
	}
	if (request->status == 405)
		(void) MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "POST");
	if (request->status == 401)
		(void) MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
	if (request->wants_close || closing)
		(void) MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
	result = MHD_queue_response(connection, request->status, response);
	MHD_destroy_response(response);
	if (request->status != 200)
		count_refusal(request->refusal);
	set_phase(request->client, ANSWER);
	return result;
}

/* All of a request is there: the receiver has it now. */
static void
pass_on(TexRequest *request, struct MHD_Connection *connection)
{
	MHD_suspend_connection(connection);
	request->complete_at = tex_http_now();
	request->len = request->body.len;
	dlist_push_tail(&ready, &request->node);
	ready_count++;
	set_phase(request->client, STORING);
}

/* ----------------------------------------------------------------
 *		Callbacks of the library
 * ----------------------------------------------------------------
 */
static TexClient *
client_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info != NULL ? info->socket_context : NULL;
}

/* The head of a request is there. */
static enum MHD_Result
begin_request(struct MHD_Connection *connection, const char *path, const char *method, const char *version, void **state)
{
	TexRequest *request = calloc(1, sizeof(TexRequest));

	if (request == NULL)
		return MHD_NO;
	*state = request;
	request->connection = connection;
	request->client = client_of(connection);
	if (request->client != NULL)
		request->client->request = request;
	judge_head(request, connection, path, method, version);
	set_phase(request->client, BODY);
	if (request->status != 0 && header(connection, MHD_HTTP_HEADER_EXPECT) != NULL)
	{
		/* The body may come all the same, and must not be taken for a request. */
		request->wants_close = true;
		return answer(connection, request);
	}
	return MHD_YES;
}

/* MHD_AccessHandlerCallback: of a request the head, then each part of its body, then its end. */
static enum MHD_Result
handle(void *cls, struct MHD_Connection *connection, const char *path, const char *method,
	   const char *version, const char *part, size_t *len, void **state)
{
	TexRequest *request = *state;

	if (request == NULL)
		return begin_request(connection, path, method, version, state);
	if (*len > 0)
	{
		take_part(request, part, *len);
		*len = 0;
		return MHD_YES;
	}
	if (request->status != 0)
		return answer(connection, request);
	pass_on(request, connection);
	return MHD_YES;
}

/* MHD_RequestCompletedCallback: it is answered, or given up. */
static void
forget_request(void *cls, struct MHD_Connection *connection, void **state, enum MHD_RequestTerminationCode code)
{
	TexRequest *request = *state;

	if (request == NULL)
		return;
	if (request->client != NULL)
	{
		request->client->request = NULL;
		if (request->client->phase != ANSWER && request->client->phase != CUT)
			count_refusal(TEX_REFUSED_BROKEN);
		if (request->client->phase != CUT)
			set_phase(request->client, IDLE);
	}
	tex_bytes_free(&request->body);
	free(request);
	*state = NULL;
}

/* Says a last word to a client that is given up, as far as its socket takes it, and ends the connection. */
static void
cut(TexClient *client)
{
	int			status = closing ? 503 : 408;
	const char *text = closing ? "Service Unavailable\r\nRetry-After: 1" : "Request Timeout";
	char		word[256];
	int			len;

	if (client->request != NULL && client->request->status == 413)
	{
		status = 413;
		text = "Content Too Large";
	}
	if (client->request != NULL && client->request->status == 401)
	{
		status = 401;
		text = "Unauthorized";
	}
	len = snprintf(word, sizeof(word), "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", status, text);
	if (client->phase == HEAD || client->phase == BODY)
	{
		(void) send(client->fd, word, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		count_refusal(closing ? TEX_REFUSED_OVERLOAD : TEX_REFUSED_SLOW);
	}
	(void) shutdown(client->fd, SHUT_RDWR);
	cut_count += client->phase != CUT;
	set_phase(client, CUT);
}

/* The callback for URIs: the first line of a request is there, so the client is no longer idle. */
static void *
note_request(void *cls, const char *uri, struct MHD_Connection *connection)
{
	TexClient  *client = client_of(connection);

	if (client != NULL && client->phase == IDLE)
		set_phase(client, HEAD);
	return NULL;
}

/* Among too many connections, the one that says nothing for longest gives way to one that comes. */
static void
make_way(void)
{
	TexClient  *idle = NULL;
	dlist_iter	iter;

	dlist_foreach(iter, &clients)
	{
		TexClient  *client = dlist_container(TexClient, node, iter.cur);

		if (client->phase == IDLE && (idle == NULL || client->deadline < idle->deadline))
			idle = client;
	}
	if (idle != NULL)
		cut(idle);
}

/* MHD_NotifyConnectionCallback: a connection comes or goes. */
static void
note_connection(void *cls, struct MHD_Connection *connection, void **context, enum MHD_ConnectionNotificationCode code)
{
	TexClient  *client = *context;

	if (code == MHD_CONNECTION_NOTIFY_STARTED)
	{
		const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);

		client = calloc(1, sizeof(TexClient));
		*context = client;
		if (client == NULL)
			return;
		client->fd = info != NULL ? info->connect_fd : -1;
		set_phase(client, HEAD);
		dlist_push_tail(&clients, &client->node);
		client_count++;
		if (client_count - cut_count > most_clients)
			make_way();
	}
	else if (client != NULL)
	{
		bool		was_cut = client->phase == CUT;

		dlist_delete(&client->node);
		free(client);
		*context = NULL;
		client_count--;
		cut_count -= was_cut;
	}
	pg_atomic_write_u64(&tex_receiver->connections, client_count);
}

/* ----------------------------------------------------------------
 *		For the receiver
 * ----------------------------------------------------------------
 */
/* Opens the door: the library has the socket from now on.  False where that fails. */
bool
tex_http_start(int listen_fd, int most)
{
	const union MHD_DaemonInfo *info;

	most_clients = most;
	daemon_of_all = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, handle, NULL,
									 MHD_OPTION_LISTEN_SOCKET, listen_fd,
									 MHD_OPTION_CONNECTION_LIMIT, (unsigned int) (most + MORE_CLIENTS),
									 MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t) CONNECTION_BYTES,
									 MHD_OPTION_CONNECTION_TIMEOUT, 0U,
									 MHD_OPTION_STRICT_FOR_CLIENT, 1,
									 MHD_OPTION_NOTIFY_COMPLETED, forget_request, NULL,
									 MHD_OPTION_URI_LOG_CALLBACK, note_request, NULL,
									 MHD_OPTION_NOTIFY_CONNECTION, note_connection, NULL,
									 MHD_OPTION_END);
	if (daemon_of_all == NULL)
		return false;
	info = MHD_get_daemon_info(daemon_of_all, MHD_DAEMON_INFO_EPOLL_FD);
	epoll_fd = info != NULL ? info->epoll_fd : -1;
	return epoll_fd >= 0;
}

/* The token that clients must send from now on, malloc()ed; NULL: none. */
void
tex_http_set_token(char *new_token)
{
	free(token);
	token = new_token;
}

/* Readable when tex_http_run() has something to do. */
int
tex_http_fd(void)
{
	return epoll_fd;
}

/* For so long nothing was read, as a batch was stored: that is nobody's fault, so all have as much more time. */
void
tex_http_excuse(int64 us)
{
	dlist_iter	iter;

	dlist_foreach(iter, &clients)
	{
		TexClient  *client = dlist_container(TexClient, node, iter.cur);

		if (client->deadline != PG_INT64_MAX)
			client->deadline += us;
	}
}

/* Cuts those whose deadline is over; returns the next one. */
static int64
cut_slow(int64 now)
{
	int64		next = PG_INT64_MAX;
	dlist_iter	iter;

	dlist_foreach(iter, &clients)
	{
		TexClient  *client = dlist_container(TexClient, node, iter.cur);

		if (now >= client->deadline)
			cut(client);
		next = Min(next, client->deadline);
	}
	return next;
}

/* Does what there is to do on all connections, and goes on for a moment while more comes. */
void
tex_http_run(void)
{
	int64		until = tex_http_now() + READ_US;
	struct pollfd more = {.fd = epoll_fd,.events = POLLIN};

	do
		(void) MHD_run(daemon_of_all);
	while ((tex_http_wait_ms() == 0 || poll(&more, 1, 0) > 0) && tex_http_now() < until);
}

/* How long there is nothing to do, in ms, unless the descriptor is readable; cuts the slow. */
long
tex_http_wait_ms(void)
{
	unsigned long long timeout;
	int64		now = tex_http_now();
	int64		next = cut_slow(now);
	long		wait = next == PG_INT64_MAX ? 60000 : Min((next - now) / 1000 + 1, 60000);

	if (MHD_get_timeout(daemon_of_all, &timeout) == MHD_YES)
		wait = Min(wait, (long) Min(timeout, 60000));
	return wait;
}

/*
 * Takes requests whose bodies are there, in their order: as many as are asked for, and of so
 * many bytes, but at least one.  Returns how many; each is to be stored and answered.
 */
int
tex_http_take(TexRequest **requests, int most, size_t most_bytes)
{
	int			n = 0;
	size_t		bytes = 0;

	while (n < most && !dlist_is_empty(&ready))
	{
		TexRequest *request = dlist_container(TexRequest, node, dlist_head_node(&ready));

		bytes += request->body.len;
		if (n > 0 && bytes > most_bytes)
			break;
		dlist_delete(&request->node);
		ready_count--;
		requests[n++] = request;
	}
	return n;
}

/* Takes back a request that was taken and nothing was done with; of several, the last one first. */
void
tex_http_put_back(TexRequest *request)
{
	dlist_push_head(&ready, &request->node);
	ready_count++;
}

/* Has a decided request answered, at the next tex_http_run(). */
void
tex_http_answer(TexRequest *request)
{
	tex_bytes_free(&request->body);
	set_phase(request->client, ANSWER);
	MHD_resume_connection(request->connection);
}

/* No connection is accepted any more; requests whose bodies are still to come will be refused. */
void
tex_http_close_door(void)
{
	int			fd;
	dlist_iter	iter;

	/* Those that wait to be accepted. */
	tex_http_run();
	fd = MHD_quiesce_daemon(daemon_of_all);
	if (fd >= 0)
		close(fd);
	closing = true;
	dlist_foreach(iter, &clients)
	{
		TexClient  *client = dlist_container(TexClient, node, iter.cur);

		if (client->phase == IDLE)
			cut(client);
		else if (client->phase == BODY && client->request->status == 0)
			refuse(client->request, 503, TEX_REFUSED_OVERLOAD, "the receiver is shutting down");
	}
}

/* Is a request under way? */
bool
tex_http_is_busy(void)
{
	dlist_iter	iter;

	dlist_foreach(iter, &clients)
	{
		TexClient  *client = dlist_container(TexClient, node, iter.cur);

		if (client->phase == BODY || client->phase == STORING || client->phase == ANSWER)
			return true;
	}
	return false;
}

/* Ends all connections; none may have a request that is being stored. */
void
tex_http_stop(void)
{
	dlist_iter	iter;

	dlist_foreach(iter, &clients)
	{
		TexClient  *client = dlist_container(TexClient, node, iter.cur);

		if (client->phase != CUT)
			cut(client);
	}
	tex_http_run();
	MHD_stop_daemon(daemon_of_all);
	daemon_of_all = NULL;
}
