/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "run_fork.h"

#include <errno.h>
#include <signal.h>

#include "command.h"
#include "escaped_name.h"
#include "path_text.h"
#include "property_options.h"
#include "store_access.h"
#include "util.h"

/*
 * Run one request.  Return 0 or the negative errno of its error.  *ret_message
 * is then set to the message, which the caller frees, unless it was printed.
 */
static int ask(const char *store, json_t *request, control_row_fn *fn,
               json_t **ret_answer, char **ret_message)
{
	json_auto_t *answer = NULL;
	struct store_access access;
	char message[4096];
	const json_t *error;
	int r = store_access_open(&access, store, false);

	if (r) {
		json_decref(request);
		return -EIO;
	}
	r = store_access_ask(&access, request, fn, NULL, &answer);
	r = store_access_close(&access) || r ? -EIO : 0;
	error = json_object_get(answer, "error");
	if (!r && error) {
		r = -abs((int)json_integer_value(
		        json_object_get(answer, "errno")));
		if (!r)
			r = -EIO;
		if (name_unescape(error, message, sizeof(message)) == 0)
			*ret_message = strdup(message);
	}
	if (!r && ret_answer)
		*ret_answer = steal(&answer);
	return r;
}

int run_fork_make(const char *store, const char *source, const char *name,
                  const struct option_list *set, struct run_fork *ret_fork)
{
	json_t *request =
	        request_new("fork", "source", source, "name", name, NULL);
	_cleanup_free_ char *message = NULL;
	json_auto_t *answer = NULL;
	int r;

	property_options_add(set, request);
	r = ask(store, request, NULL, &answer, &message);
	if (message)
		complain("%s", message);
	if (r)
		return EXIT_FAILED;
	*ret_fork = (struct run_fork){
	        .store = store,
	        .name = strdup(name),
	        .number = (uint64_t)json_integer_value(
	                json_object_get(answer, "number")),
	        .version = (uint64_t)json_integer_value(
	                json_object_get(answer, "version")),
	};
	return EXIT_DONE;
}

void run_fork_release(struct run_fork *fork)
{
	free(fork->name);
	*fork = (struct run_fork){0};
}

/* ---- Joining ------------------------------------------------------------ */

/* Print conflicts as coppice join does, but on standard error. */
static int print_conflict(void *arg, json_t *row)
{
	const char *op = json_string_value(json_object_get(row, "op"));
	const json_t *kinds = json_object_get(row, "conflicts");
	char text[PATH_TEXT_MAX];

	if (!op || *op != 'C')
		return 0;
	fputs("C\t", stderr);
	for (size_t i = 0; i < json_array_size(kinds); i++)
		fprintf(stderr, "%s%s", i ? "," : "",
		        json_string_value(json_array_get(kinds, i)));
	fprintf(stderr, "\t%s\n",
	        path_text(json_object_get(row, "path"), false, text));
	return 0;
}

/* Return true if a signal to end this process is pending. */
static bool is_asked_to_end(void)
{
	sigset_t pending;

	return sigpending(&pending) == 0 && (sigismember(&pending, SIGINT) ||
	                                     sigismember(&pending, SIGTERM) ||
	                                     sigismember(&pending, SIGQUIT) ||
	                                     sigismember(&pending, SIGHUP));
}

static json_t *join_request(const struct run_fork *fork, const char *into,
                            enum run_policy policy)
{
	json_t *request =
	        request_new("join", "source", fork->name, "into", into, NULL);

	if (request && policy == RUN_FIRST)
		json_object_set_new(request, "ff_only", json_true());
	return request;
}

/*
 * The daemon builds a join from the current versions, and switches, in one hold
 * of the store's lock, only if they are still current.  Else it starts again,
 * and after some attempts fails with -EBUSY: repeat the request then.
 */
enum run_join run_fork_join(const struct run_fork *fork, const char *into,
                            enum run_policy policy, char **ret_message)
{
	int r;

	*ret_message = NULL;
	do {
		free(steal(ret_message));
		r = ask(fork->store, join_request(fork, into, policy),
		        print_conflict, NULL, ret_message);
	} while (r == -EBUSY && !is_asked_to_end());
	return !r                ? RUN_JOINED
	       : r == -EEXIST    ? RUN_CONFLICT
	       : r == -ENOTEMPTY ? RUN_REFUSED
	                         : RUN_FAILED;
}

/* ---- Removing ----------------------------------------------------------- */

bool run_fork_remove(const struct run_fork *fork, enum run_removal how,
                     char **ret_message)
{
	json_t *request = request_new("rm", "name", fork->name, NULL);
	json_auto_t *answer = NULL;

	*ret_message = NULL;
	if (request) {
		json_object_set_new(request, "number",
		                    json_integer((json_int_t)fork->number));
		/* Skip the trash: this is no deletion by mistake. */
		json_object_set_new(request, "now", json_true());
	}
	if (request && how == RUN_IF_UNCHANGED)
		json_object_set_new(request, "if_unchanged",
		                    json_integer((json_int_t)fork->version));
	if (request && how == RUN_ANYWAY)
		json_object_set_new(request, "recursive", json_true());
	return ask(fork->store, request, NULL, &answer, ret_message) == 0 &&
	       json_is_true(json_object_get(answer, "deleted"));
}
