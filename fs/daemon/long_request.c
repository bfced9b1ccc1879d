/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Requests that are longer than a line. */
#include "long_request.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "util.h"

/* Without these the other end could change the file while it is read. */
static const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

static int write_all(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t n = write(fd, text, len);

		if (n < 0)
			return -errno;
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

int long_request_send(int socket, json_t *request, int fd, int timeout_ms)
{
	_cleanup_free_ char *text = json_dumps(request, JSON_COMPACT);
	_cleanup_close_ int file = -1;
	json_auto_t *line = NULL, *second = NULL;
	int err;

	if (!text)
		return -ENOMEM;
	if (strlen(text) + 1 < LINE_MAX_LEN)
		return json_line_write(socket, request, fd, timeout_ms);
	if (strlen(text) > LONG_REQUEST_MAX)
		return -EMSGSIZE;
	line = json_pack("{s:O, s:b, s:b}", "verb",
	                 json_object_get(request, "verb"), "attached", 1,
	                 "descriptor", fd >= 0);
	second = json_pack("{s:b}", "descriptor", 1);
	if (!line || !second)
		return -ENOMEM;
	file = memfd_create("request", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (file < 0)
		return -errno;
	err = write_all(file, text, strlen(text));
	if (!err && fcntl(file, F_ADD_SEALS, seals) < 0)
		err = -errno;
	if (!err)
		err = json_line_write(socket, line, file, timeout_ms);
	return err || fd < 0 ? err
	                     : json_line_write(socket, second, fd, timeout_ms);
}

/* Replace the request by the one in the file. */
static int attached_load(json_t **request, int fd)
{
	const char *verb = json_string_value(json_object_get(*request, "verb"));
	json_auto_t *whole = NULL;
	const char *whole_verb;
	struct stat st;
	void *text;

	if (!verb || fd < 0 || fstat(fd, &st) < 0 ||
	    (fcntl(fd, F_GET_SEALS) & seals) != seals || st.st_size <= 0)
		return -EINVAL;
	if (st.st_size > LONG_REQUEST_MAX)
		return -EMSGSIZE;
	text = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (text == MAP_FAILED)
		return -ENOMEM;
	whole = json_loadb(text, (size_t)st.st_size, JSON_REJECT_DUPLICATES,
	                   NULL);
	munmap(text, (size_t)st.st_size);
	whole_verb = json_string_value(json_object_get(whole, "verb"));
	if (!whole_verb || strcmp(whole_verb, verb) != 0)
		return -EINVAL;
	json_decref(*request);
	*request = steal(&whole);
	return 0;
}

int long_request_load(json_t **request, struct json_line_reader *reader,
                      int timeout_ms)
{
	bool more = json_is_true(json_object_get(*request, "descriptor"));
	int err = attached_load(request, reader->fd);
	size_t len;
	char *line;

	close_fd(&reader->fd);
	reader->fd = -1;
	if (err || !more)
		return err;
	err = json_line_read(reader, timeout_ms, &line, &len);
	return !err && reader->fd < 0 ? -EINVAL : err;
}
