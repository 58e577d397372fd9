/*
 * listen.c
 *		Where the receiver listens, and the token that clients must have.
 *
 * Nothing here throws: a problem is a text, with which the receiver gives up.
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guc.h"
#include "receiver/listen.h"

/* Clients that wait to be accepted while a batch is stored. */
#define BACKLOG 1024

/* A token is some line, no file of another kind. */
#define LONGEST_TOKEN 4096

/* Does an address lead to this machine only? */
static bool
is_loopback(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET)
		return (ntohl(((const struct sockaddr_in *) address)->sin_addr.s_addr) >> 24) == 127;
	if (address->sa_family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *) address)->sin6_addr);
	return false;
}

/* A socket that listens on one address, or -1 with errno set. */
static int
listen_on(const struct addrinfo *address)
{
	int			on = 1;
	int			off = 0;
	int			saved;
	int			fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	/* Connections of the last receiver may linger; a port that is taken is refused all the same. */
	(void) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	/* "*" is both families. */
	if (address->ai_family == AF_INET6)
		(void) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

/*
 * Listens on an address as in trace_ext.otlp_listen: the first that its host name has, and that
 * can be had.  Returns the socket, or -1 with the problem.  "loopback" says whether only this
 * machine can reach it.
 */
int
tex_listen(const char *address, bool *loopback, const char **problem)
{
	struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV,.ai_socktype = SOCK_STREAM};
	struct addrinfo *found;
	const char *port;
	char		host[256];
	int			result;
	int			fd = -1;

	*problem = "it is no host and port";
	if (!tex_split_address(address, host, sizeof(host), &port))
		return -1;
	/* Where there is no IPv6, "::" cannot be had, and 0.0.0.0 comes next. */
	result = getaddrinfo(strcmp(host, "*") == 0 ? "::" : host, port, &hints, &found);
	if (result == 0)
	{
		for (struct addrinfo *one = found; one != NULL && fd < 0; one = one->ai_next)
		{
			*loopback = is_loopback(one->ai_addr);
			fd = listen_on(one);
		}
		*problem = fd < 0 ? strerror(errno) : NULL;
		freeaddrinfo(found);
	}
	else
		*problem = gai_strerror(result);
	if (fd < 0 && strcmp(host, "*") == 0)
	{
		struct sockaddr_in any = {.sin_family = AF_INET,.sin_port = htons(atoi(port))};
		struct addrinfo all = {.ai_family = AF_INET,.ai_addr = (struct sockaddr *) &any,.ai_addrlen = sizeof(any)};

		*loopback = false;
		fd = listen_on(&all);
		*problem = fd < 0 ? strerror(errno) : NULL;
	}
	return fd;
}

/*
 * Reads the token, one line, of a file; malloc()ed.  NULL with the problem where it cannot be
 * read, is empty, or others than the server's user and group may read it.
 */
char *
tex_token_read(const char *path, const char **problem)
{
	char		line[LONGEST_TOKEN + 1];
	struct stat status;
	ssize_t		len;
	char	   *token = NULL;
	int			fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	*problem = fd < 0 ? strerror(errno) : NULL;
	if (fd < 0)
		return NULL;
	len = read(fd, line, LONGEST_TOKEN);
	if (len < 0 || fstat(fd, &status) != 0)
		*problem = strerror(errno);
	else if (!S_ISREG(status.st_mode))
		*problem = "it is no regular file";
	else if ((status.st_mode & (S_IROTH | S_IWOTH | S_IWGRP)) != 0)
		*problem = "others may read it, or write it";
	else
	{
		line[len] = '\0';
		while (len > 0 && strchr(" \t\r\n", line[len - 1]) != NULL)
			line[--len] = '\0';
		if (len == 0 || (size_t) len != strlen(line) || strpbrk(line, " \t\r\n") != NULL || len == LONGEST_TOKEN)
			*problem = "it is not one token on one line";
		else if ((token = strdup(line)) == NULL)
			*problem = "out of memory";
	}
	close(fd);
	return token;
}

/*
 * Is the value of the header Authorization that token?  The time it takes depends on the length
 * of what was sent alone.
 */
bool
tex_token_matches(const char *token, const char *sent)
{
	volatile unsigned char differs = 0;
	size_t		len = strlen(token);
	size_t		sent_len;

	if (sent == NULL || pg_strncasecmp(sent, "Bearer ", 7) != 0)
		return false;
	sent += 7;
	sent += strspn(sent, " ");
	sent_len = strlen(sent);
	while (sent_len > 0 && sent[sent_len - 1] == ' ')
		sent_len--;
	differs = sent_len != len;
	for (size_t i = 0; i < sent_len; i++)
		differs |= (unsigned char) sent[i] ^ (unsigned char) token[i % len];
	return differs == 0;
}
