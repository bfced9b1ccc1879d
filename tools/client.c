/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests, to the daemon or to the store. */
#include "client.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>

#include "command.h"
#include "util.h"

static int store_complain(const char *path, int err)
{
	complain("cannot open store '%s': %s", path, store_open_reason(err));
	return err == -EUCLEAN || err == -EBADMSG ? EXIT_DAMAGE : EXIT_FAILED;
}

static int store_open_here(struct client *client, bool reads)
{
	struct fs_options fs_options = {0};
	struct store_options options = {0};
	int r = store_open(client->path, &options, &client->store);

	if (reads && (r == -EROFS || r == -EACCES || r == -EBADMSG)) {
		options.readonly = true;
		r = store_open(client->path, &options, &client->store);
	}
	if (r)
		return r;
	r = forest_open(client->store, &client->forest);
	if (!r)
		r = fs_create(client->forest, &fs_options, &client->fs);
	return r;
}

int client_open(struct client *client, const char *path, bool reads)
{
	int r = -EBUSY;

	*client = (struct client){.path = path, .socket = -1};
	/*
	 * A daemon that is starting or ending has the store open without
	 * answering: that takes moments, unless the disk is very slow.
	 */
	for (int tries = 0; r == -EBUSY && tries < 50; tries++) {
		if (tries)
			poll(NULL, 0, 100);
		r = control_connect(path, &client->socket);
		if (!r)
			return EXIT_DONE;
		client->socket = -1;
		if (r != -ENOENT)
			break;
		r = store_open_here(client, reads);
	}
	if (!r)
		return EXIT_DONE;
	r = store_complain(path, r);
	client_close(client);
	return r;
}

int client_close(struct client *client)
{
	int r = 0;

	if (client->socket >= 0)
		close(client->socket);
	fs_destroy(client->fs);
	forest_close(client->forest);
	r = store_close(client->store);
	client->socket = -1;
	client->fs = NULL;
	client->forest = NULL;
	client->store = NULL;
	if (!r)
		return EXIT_DONE;
	complain("cannot write to store '%s': %s", client->path, strerror(-r));
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
			                        control_text(name));
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
	char sentence[4096];

	if (control_untext(text, sentence, sizeof(sentence)))
		complain("the answer cannot be read");
	else
		complain("%s%s", before, sentence);
}

int client_call(struct client *client, json_t *request, control_row_fn *fn,
                void *arg, json_t **ret_answer)
{
	json_auto_t *owned = request;
	json_auto_t *answer = NULL;
	const json_t *error, *warning;
	int r;

	if (!request) {
		complain("out of memory");
		return EXIT_FAILED;
	}
	if (!fn)
		fn = no_row;
	if (client->socket >= 0)
		r = control_call(client->socket, owned, -1, fn, arg, &answer);
	else
		r = control_run(client->fs, owned, fn, arg, &answer);
	if (r) {
		complain("no answer from the store '%s': %s", client->path,
		         strerror(-r));
		return r == -EUCLEAN ? EXIT_DAMAGE : EXIT_FAILED;
	}
	error = json_object_get(answer, "error");
	if (error) {
		answer_complain("", error);
		r = (int)json_integer_value(json_object_get(answer, "errno"));
		return abs(r) == EUCLEAN ? EXIT_DAMAGE : EXIT_FAILED;
	}
	warning = json_object_get(answer, "warning");
	if (warning)
		answer_complain("warning: ", warning);
	if (ret_answer)
		*ret_answer = steal(&answer);
	return EXIT_DONE;
}

int client_locate(struct client *client, char **name)
{
	json_auto_t *answer = NULL;
	char *full;
	int r = client_call(client, request_new("find", "name", *name, NULL),
	                    NULL, NULL, &answer);

	if (!r)
		r = answer_name(answer, "name", &full);
	if (r)
		return r;
	free(*name);
	*name = full;
	return EXIT_DONE;
}

int client_do(const char *path, bool reads, json_t *request, control_row_fn *fn,
              void *arg, json_t **ret_answer)
{
	struct client client;
	int r, closed;

	r = client_open(&client, path, reads);
	if (r) {
		json_decref(request);
		return r;
	}
	r = client_call(&client, request, fn, arg, ret_answer);
	closed = client_close(&client);
	return r ? r : closed;
}

int answer_name(const json_t *answer, const char *key, char **ret_name)
{
	char name[NAME_LEN_MAX * 2 + 2];
	int r = control_untext(json_object_get(answer, key), name,
	                       sizeof(name));

	if (!r && !(*ret_name = strdup(name)))
		r = -ENOMEM;
	if (!r)
		return EXIT_DONE;
	complain("the answer has no name: %s", strerror(-r));
	return EXIT_FAILED;
}
