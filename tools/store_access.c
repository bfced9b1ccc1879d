/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store_access.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>

#include "command.h"
#include "control_copy.h"
#include "error_message.h"
#include "escaped_name.h"
#include "util.h"

enum {
	RETRY_MS = 100,    /* between two attempts */
	BUSY_TRIES = 50,   /* attempts to open a store that is in use */
	ENDING_MS = 15000, /* longest wait for a daemon that is ending */
	COPY_TRIES = 100,  /* retries of a copy that a daemon breaks off */
};

int store_complain(const char *action, const char *path, int err)
{
	_cleanup_free_ char *message = store_open_message(action, path, err);

	complain("%s", message ? message : strerror(-err));
	return err == -EUCLEAN || err == -EBADMSG ? EXIT_DAMAGE : EXIT_FAILED;
}

static int store_open_here(struct store_access *access, bool reads)
{
	struct fs_options fs_options = {0};
	struct store_options options = {0};
	int r = store_open(access->path, &options, &access->store);

	if (reads && (r == -EROFS || r == -EACCES || r == -EBADMSG)) {
		options.readonly = true;
		r = store_open(access->path, &options, &access->store);
	}
	if (r)
		return r;
	r = forest_open(access->store, &access->forest);
	if (!r)
		r = fs_create(access->forest, &fs_options, &access->fs);
	return r;
}

int store_access_open(struct store_access *access, const char *path, bool reads)
{
	int r = -EBUSY;

	*access = (struct store_access){
	        .path = path, .reads = reads, .socket = -1};
	/*
	 * A daemon that is starting or ending has the store open but does not
	 * answer.  This state is short, unless the disk is very slow.
	 */
	for (int tries = 0; r == -EBUSY && tries < BUSY_TRIES; tries++) {
		if (tries)
			poll(NULL, 0, RETRY_MS);
		r = daemon_client_connect(path, &access->socket);
		if (!r)
			return EXIT_DONE;
		access->socket = -1;
		if (r != -ENOENT)
			break;
		r = store_open_here(access, reads);
	}
	if (!r)
		return EXIT_DONE;
	r = store_complain("open", path, r);
	store_access_close(access);
	return r;
}

int store_access_close(struct store_access *access)
{
	int r = 0;

	if (access->socket >= 0)
		close(access->socket);
	fs_destroy(access->fs);
	forest_close(access->forest);
	r = store_close(access->store);
	access->socket = -1;
	access->fs = NULL;
	access->forest = NULL;
	access->store = NULL;
	if (!r)
		return EXIT_DONE;
	complain("cannot write to store '%s': %s", access->path, strerror(-r));
	return EXIT_FAILED;
}

json_t *request_new(const char *verb, ...)
{
	json_auto_t *request = json_pack("{s:s}", "verb", verb);
	const char *key;
	va_list ap;
	int r = request ? 0 : -1;

	va_start(ap, verb);
	while (!r && (key = va_arg(ap, const char *))) {
		const char *name = va_arg(ap, const char *);

		if (name)
			r = json_object_set_new(request, key,
			                        name_escape(name));
	}
	va_end(ap);
	return r ? NULL : steal(&request);
}

static int no_row(void *arg, json_t *row)
{
	return 0;
}

static void answer_complain(const char *before, const json_t *text)
{
	char message[4096];

	if (name_unescape(text, message, sizeof(message)))
		complain("the answer cannot be read");
	else
		complain("%s%s", before, message);
}

/* Complain if there is no answer.  Return the exit code. */
static int answer_check(const struct store_access *access, int r)
{
	if (!r)
		return EXIT_DONE;
	complain("no answer from the store '%s': %s", access->path,
	         strerror(-r));
	return r == -EUCLEAN ? EXIT_DAMAGE : EXIT_FAILED;
}

/* Complain if the request failed.  Return the exit code. */
static int call_result(json_t **answer, json_t **ret_answer)
{
	const json_t *error, *warning;
	int r;

	error = json_object_get(*answer, "error");
	if (error) {
		answer_complain("", error);
		r = (int)json_integer_value(json_object_get(*answer, "errno"));
		return abs(r) == EUCLEAN ? EXIT_DAMAGE : EXIT_FAILED;
	}
	warning = json_object_get(*answer, "warning");
	if (warning)
		answer_complain("warning: ", warning);
	if (ret_answer)
		*ret_answer = steal(answer);
	return EXIT_DONE;
}

struct counted {
	control_row_fn *fn;
	void *arg;
	bool any;
};

static int count_row(void *arg, json_t *row)
{
	struct counted *rows = arg;

	rows->any = true;
	return rows->fn(rows->arg, row);
}

/* Send the request once.  *ret_again: the daemon ended; repeat the request. */
static int call_once(struct store_access *access, json_t *request,
                     struct counted *rows, json_t **ret_answer, bool *ret_again)
{
	int r;

	*ret_again = false;
	if (access->socket < 0)
		return control_run(access->fs, request, count_row, rows,
		                   ret_answer);
	r = daemon_client_call(access->socket, request, -1, count_row, rows,
	                       ret_answer);
	*ret_again = !rows->any &&
	             (r ? r == -EAGAIN || (r == -EPIPE && access->reads)
	                : daemon_client_is_ending(*ret_answer));
	return r;
}

int store_access_ask(struct store_access *access, json_t *request,
                     control_row_fn *fn, void *arg, json_t **ret_answer)
{
	struct counted rows = {.fn = fn ? fn : no_row, .arg = arg};
	int64_t end = mono_ns() + ENDING_MS * INT64_C(1000000);
	json_auto_t *owned = request;
	json_auto_t *answer = NULL;
	bool again;
	int r;

	if (!request) {
		complain("out of memory");
		return EXIT_FAILED;
	}
	r = call_once(access, owned, &rows, &answer, &again);
	while (again && mono_ns() < end) {
		json_decref(steal(&answer));
		close(access->socket);
		poll(NULL, 0, RETRY_MS);
		r = store_access_open(access, access->path, access->reads);
		if (r)
			return r;
		r = call_once(access, owned, &rows, &answer, &again);
	}
	r = answer_check(access, r);
	if (!r)
		*ret_answer = steal(&answer);
	return r;
}

int store_access_call(struct store_access *access, json_t *request,
                      control_row_fn *fn, void *arg, json_t **ret_answer)
{
	json_auto_t *answer = NULL;
	int r = store_access_ask(access, request, fn, arg, &answer);

	return r ? r : call_result(&answer, ret_answer);
}

static int copy_once(struct store_access *access, int fd, struct counted *rows,
                     json_t **ret_answer)
{
	json_auto_t *request = request_new("copy", NULL);

	if (!request)
		return -ENOMEM;
	return access->socket < 0
	               ? control_copy(access->store, fd, rows->fn, rows->arg,
	                              ret_answer)
	               : daemon_client_call(access->socket, request, fd,
	                                    rows->fn, rows->arg, ret_answer);
}

int store_access_copy(struct store_access *access, int fd, control_row_fn *fn,
                      void *arg, json_t **ret_answer)
{
	struct counted rows = {.fn = fn, .arg = arg};
	json_auto_t *answer = NULL;
	bool ending;
	int r;

	for (int tries = 0;; tries++) {
		r = copy_once(access, fd, &rows, &answer);
		ending = access->socket >= 0 &&
		         (r == -EPIPE || r == -EAGAIN ||
		          (!r && daemon_client_is_ending(answer)));
		if (!ending || tries == COPY_TRIES)
			break;
		json_decref(steal(&answer));
		if (ftruncate(fd, 0) < 0) {
			r = -errno;
			break;
		}
		close(access->socket);
		poll(NULL, 0, RETRY_MS);
		r = store_access_open(access, access->path, access->reads);
		if (r)
			return r;
	}
	r = answer_check(access, r);
	return r ? r : call_result(&answer, ret_answer);
}

/* Run a request with a descriptor, once.  Close *fd. */
static int call_with(struct store_access *access, json_t *request, int *fd,
                     control_row_fn *fn, void *arg, json_t **ret_answer)
{
	const struct fs_cred cred = {geteuid(), getegid(), 0};
	int r = access->socket < 0
	                ? control_serve(access->fs, NULL, &cred, request, *fd,
	                                fn, arg, ret_answer)
	                : daemon_client_call(access->socket, request, *fd, fn,
	                                     arg, ret_answer);

	close_fd(fd);
	*fd = -1;
	return r;
}

/* Return true if an import has failed, but a repetition may succeed. */
static bool import_may_repeat(struct store_access *access, int r,
                              const json_t *answer)
{
	json_int_t number =
	        json_integer_value(json_object_get(answer, "errno"));

	if (access->socket >= 0 &&
	    (r == -EAGAIN || daemon_client_is_ending(answer)))
		return true;
	return !r && json_object_get(answer, "error") && number == EBUSY;
}

int store_access_import(struct store_access *access, json_t *request, int *fd,
                        control_row_fn *fn, void *arg, json_t **ret_answer,
                        bool *ret_again)
{
	json_auto_t *answer = NULL;
	int r = call_with(access, request, fd, fn, arg, &answer);
	bool ending;

	*ret_again = import_may_repeat(access, r, answer);
	ending = *ret_again && (r || daemon_client_is_ending(answer));
	if (!*ret_again) {
		r = answer_check(access, r);
		return r ? r : call_result(&answer, ret_answer);
	}
	if (!ending)
		return EXIT_DONE;
	close(access->socket);
	poll(NULL, 0, RETRY_MS);
	return store_access_open(access, access->path, access->reads);
}

int store_access_export(struct store_access *access, json_t *request, int *fd,
                        json_t **ret_answer)
{
	json_auto_t *answer = NULL;
	int r = call_with(access, request, fd, NULL, NULL, &answer);

	r = answer_check(access, r);
	return r ? r : call_result(&answer, ret_answer);
}

int store_access_find_name(struct store_access *access, char **name)
{
	json_auto_t *answer = NULL;
	char *full;
	int r = store_access_call(access,
	                          request_new("find", "name", *name, NULL),
	                          NULL, NULL, &answer);

	if (!r)
		r = answer_name(answer, "name", &full);
	if (r)
		return r;
	free(*name);
	*name = full;
	return EXIT_DONE;
}

int store_request(const char *path, bool reads, json_t *request,
                  control_row_fn *fn, void *arg, json_t **ret_answer)
{
	struct store_access access;
	int r, closed;

	r = store_access_open(&access, path, reads);
	if (r) {
		json_decref(request);
		return r;
	}
	r = store_access_call(&access, request, fn, arg, ret_answer);
	closed = store_access_close(&access);
	return r ? r : closed;
}

int answer_name(const json_t *answer, const char *key, char **ret_name)
{
	char name[NAME_LEN_MAX * 2 + 2];
	int r = name_unescape(json_object_get(answer, key), name, sizeof(name));

	if (!r && !(*ret_name = strdup(name)))
		r = -ENOMEM;
	if (!r)
		return EXIT_DONE;
	complain("the answer has no name: %s", strerror(-r));
	return EXIT_FAILED;
}
