/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Rare changes of states, as requests of control.h. */
#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <string.h>

#include "control.h"
#include "daemon_client.h"
#include "escaped_name.h"
#include "handle.h"
#include "util.h"

json_t *request_new(const char *verb, ...)
{
	json_auto_t *request = json_pack("{s:s}", "verb", verb);
	const char *key;
	va_list ap;
	int r = request ? 0 : -1;

	va_start(ap, verb);
	while (!r && (key = va_arg(ap, const char *))) {
		const char *text = va_arg(ap, const char *);

		if (text)
			r = json_object_set_new(request, key,
			                        name_escape(text));
	}
	va_end(ap);
	return r ? NULL : steal(&request);
}

static int no_row(void *arg, json_t *row)
{
	return 0;
}

/* Send the request to the daemon. */
static int request_send(struct coppice *store, json_t *request, int fd,
                        control_row_fn *fn, void *arg, json_t **ret_answer)
{
	int err;

	pthread_mutex_lock(&store->socket_lock);
	err = store->socket < 0 ? -ECONNRESET
	                        : daemon_client_call(store->socket, request, fd,
	                                             fn, arg, ret_answer);
	if (!err && daemon_client_is_ending(*ret_answer)) {
		json_decref(*ret_answer);
		*ret_answer = NULL;
		err = -ECONNRESET;
	}
	if (err == -EAGAIN || err == -EPIPE)
		err = -ECONNRESET;
	if (err && store->socket >= 0) {
		/* A late answer would be taken for that of the next request. */
		close(store->socket);
		store->socket = -1;
	}
	pthread_mutex_unlock(&store->socket_lock);
	return err;
}

/* Do what request_run() does, and pass the rows to fn. */
static int request_rows(struct coppice *store, json_t *taken, int fd,
                        control_row_fn *fn, void *arg, json_t **ret_answer)
{
	json_auto_t *request = taken;
	json_auto_t *answer = NULL;
	const json_t *text;
	char message[1024];
	int err = -ENOMEM;

	if (request)
		err = store->remote ? request_send(store, request, fd, fn, arg,
		                                   &answer)
		                    : control_run(store->fs, request, fn, arg,
		                                  &answer);
	if (err == -ECONNRESET)
		return fail_text(
		        err,
		        "the daemon of the store '%s' has ended: close "
		        "the store and open it again",
		        store->path);
	if (err)
		return fail_text(err, "cannot do what was asked for: %s",
		                 error_reason(err));
	text = json_object_get(answer, "error");
	if (text) {
		err = -(int)json_integer_value(
		        json_object_get(answer, "errno"));
		if (name_unescape(text, message, sizeof(message)))
			strcpy(message, "the reason is too long");
		return fail_text(err < 0 ? err : -EPROTO, "%s", message);
	}
	if (ret_answer)
		*ret_answer = steal(&answer);
	return 0;
}

int request_run(struct coppice *store, json_t *request, int fd,
                json_t **ret_answer)
{
	return request_rows(store, request, fd, no_row, NULL, ret_answer);
}

int request_change(struct coppice *store, json_t *request)
{
	int err = request_run(store, request, -1, NULL);

	if (!err)
		event_post(store);
	return err || !store->remote
	               ? err
	               : request_run(store, request_new("sync", NULL), -1,
	                             NULL);
}

json_t *request_flag(json_t *request, const char *key)
{
	if (request && json_object_set_new(request, key, json_true())) {
		json_decref(request);
		return NULL;
	}
	return request;
}

static json_t *request_for(const char *verb, const char *name)
{
	json_t *request = request_new(verb, NULL);

	if (request &&
	    json_object_set_new(request, "names",
	                        json_pack("[o]", name_escape(name)))) {
		json_decref(request);
		return NULL;
	}
	return request;
}

static json_t *request_add(json_t *request, const char *key, const char *value)
{
	if (request && json_object_set_new(request, key, name_escape(value))) {
		json_decref(request);
		return NULL;
	}
	return request;
}

int coppice_rename(struct coppice *store, const char *name, const char *to)
{
	int err = store_check_writable(store);

	return err ? err
	           : request_change(store, request_new("rename", "name", name,
	                                               "to", to, NULL));
}

int coppice_swap(struct coppice *store, const char *a, const char *b)
{
	int err = store_check_writable(store);

	return err ? err
	           : request_change(store, request_new("swap", "name", a,
	                                               "with", b, NULL));
}

int coppice_hold(struct coppice *store, const char *name, const char *tag)
{
	int err = store_check_writable(store);

	return err ? err
	           : request_change(store,
	                            request_add(request_for("hold", name),
	                                        "tag", tag));
}

int coppice_release(struct coppice *store, const char *name, const char *tag)
{
	int err = store_check_writable(store);

	return err ? err
	           : request_change(store,
	                            request_add(request_for("release", name),
	                                        "tag", tag));
}

int coppice_set(struct coppice *store, const char *name, const char *key,
                const char *value)
{
	json_t *request;
	int err = store_check_writable(store);

	if (err)
		return err;
	request = request_add(request_for(value ? "set" : "unset", name), "key",
	                      key);
	if (value)
		request = request_add(request, "value", value);
	return request_change(store, request);
}

ssize_t coppice_property(struct coppice *store, const char *name,
                         const char *key, char *buffer, size_t size)
{
	_cleanup_free_ struct property *p = malloc(sizeof(*p));
	struct state *state;
	size_t len;
	int err = store_check(store);

	if (err)
		return err;
	if (!p)
		return fail_text(-ENOMEM, "out of memory");
	store_lock(store->store);
	err = state_resolve(store->forest, name, &state);
	if (!err)
		err = property_get(state, key, p);
	store_unlock(store->store);
	if (err)
		return fail_text(err, "cannot read '%s' of '%s': %s", key, name,
		                 err == -ENOENT    ? "there is no such state"
		                 : err == -ENODATA ? "it is not set"
		                                   : error_reason(err));
	len = strlen(p->value);
	if (size) {
		memcpy(buffer, p->value, MIN(len, size - 1));
		buffer[MIN(len, size - 1)] = 0;
	}
	return (ssize_t)len;
}

/* Count the files with an undecided conflict. */
static int conflict_count(void *arg, json_t *row)
{
	uint64_t *count = arg;

	*count += json_array_size(json_object_get(row, "conflicts")) >
	          json_array_size(json_object_get(row, "decided"));
	return 0;
}

int coppice_join(struct coppice *store, const char *from, const char *into,
                 unsigned flags, uint64_t *ret_conflicts)
{
	uint64_t conflicts = 0;
	json_t *request;
	int err = store_check_writable(store);

	if (!err)
		err = flags_check(flags, COPPICE_DRY_RUN | COPPICE_OURS |
		                                 COPPICE_THEIRS);
	if (err)
		return err;
	request = request_new("join", "source", from, "into", into, NULL);
	if (flags & COPPICE_DRY_RUN)
		request = request_flag(request, "dry_run");
	if (flags & COPPICE_OURS)
		request = request_flag(request, "ours");
	if (flags & COPPICE_THEIRS)
		request = request_flag(request, "theirs");
	err = request_rows(store, request, -1, conflict_count, &conflicts,
	                   NULL);
	if (!err && !(flags & COPPICE_DRY_RUN))
		event_post(store);
	if (!err && store->remote)
		err = coppice_sync(store);
	if (ret_conflicts)
		*ret_conflicts = conflicts;
	return err;
}
