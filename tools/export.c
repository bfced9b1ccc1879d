/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice export: make a directory what a state is. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "command.h"
#include "export_target.h"
#include "store_access.h"
#include "target.h"
#include "util.h"

struct export
{
	int top, socket;
	int error; /* of the thread that makes files */
	uint64_t failed;
};

static bool is_empty(int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;
	bool empty = stream;

	if (!stream)
		close_fd(&fd);
	while (empty && (d = readdir(stream)))
		empty = !strcmp(d->d_name, ".") || !strcmp(d->d_name, "..");
	if (stream)
		closedir(stream);
	return empty;
}

/* Open the target, which is made or must be empty.  *ret_made: it was made. */
static int target_open(struct export *ex, const char *path, bool *ret_made)
{
	*ret_made = mkdir(path, 0700) == 0;
	if (!*ret_made && errno != EEXIST) {
		complain("cannot make '%s': %s", path, strerror(errno));
		return EXIT_FAILED;
	}
	ex->top = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (ex->top < 0) {
		complain("cannot open '%s': %s", path, strerror(errno));
		return EXIT_FAILED;
	}
	if (is_empty(ex->top))
		return EXIT_DONE;
	complain("cannot export to '%s': it is not empty", path);
	return EXIT_FAILED;
}

static void *make_main(void *arg)
{
	struct export *ex = arg;

	ex->error = export_target_make(ex->top, ex->socket, &ex->failed);
	/* Nobody must wait to be read from. */
	shutdown(ex->socket, SHUT_RDWR);
	return NULL;
}

/* A directory is open for each level of the state. */
static void files_allow(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static int export_run(struct export *ex, const char *store, json_t *request,
                      json_t **ret_answer)
{
	_cleanup_close_ int here = -1;
	json_auto_t *owned = request;
	struct store_access access;
	int sockets[2], r, closed;
	pthread_t thread;

	r = store_access_open(&access, store, true);
	if (r)
		return r;
	files_allow();
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0) {
		complain("cannot make a socket: %s", strerror(errno));
		store_access_close(&access);
		return EXIT_FAILED;
	}
	ex->socket = here = sockets[0];
	r = pthread_create(&thread, NULL, make_main, ex);
	if (r) {
		complain("cannot start a thread: %s", strerror(r));
		close(sockets[1]);
		store_access_close(&access);
		return EXIT_FAILED;
	}
	r = store_access_export(&access, owned, &sockets[1], ret_answer);
	/* All that was sent is read. */
	if (r)
		shutdown(here, SHUT_RDWR);
	pthread_join(thread, NULL);
	closed = store_access_close(&access);
	if (!r && ex->error && !ex->failed)
		complain("cannot make the files: %s", strerror(-ex->error));
	if (!r && (ex->error || ex->failed))
		r = EXIT_FAILED;
	return r ? r : closed;
}

static int run(const struct command *self, int argc, char **argv)
{
	_cleanup_(target_release) struct target target = {0};
	_cleanup_free_ char *state = NULL, *path = NULL;
	const char *store = NULL, *to = NULL;
	struct export ex = {.top = -1};
	json_auto_t *answer = NULL;
	bool made = false, json = false;
	int r;
	const struct command_option options[] = {
	        {"to", .value = &to},
	        {"json", .flag = &json},
	        {"store", 's', .value = &store},
	        {0},
	};

	if (!command_parse(self, options, 1, 1, &argc, &argv, &r))
		return r;
	if (!to)
		return command_usage(self, "--to is missing");
	r = target_init(&target, store);
	if (!r)
		r = target_path(&target, argv[0], &state, &path);
	if (!r)
		r = target_store(&target);
	if (!r)
		r = target_open(&ex, to, &made);
	if (!r)
		r = export_run(&ex, target.store,
		               request_new("export", "name", state, "path",
		                           path, NULL),
		               &answer);
	close_fd(&ex.top);
	/* Only a directory that has stayed empty goes. */
	if (r && made)
		rmdir(to);
	if (json && answer) {
		json_object_set_new(answer, "failed",
		                    json_integer((json_int_t)ex.failed));
		json_dumpf(answer, stdout, JSON_COMPACT), putchar('\n');
	}
	return finish_output(r);
}

const struct command command_export = {
        .name = "export",
        .args = "[--json] [-s STORE] --to=DIR STATE[:/PATH]",
        .summary = "Write a state to a directory, past the kernel",
        .help = "DIR, which is made or must be empty, gets what is in STATE, "
                "or in the directory\n"
                "PATH of it, as of one instant: contents, owners, modes, "
                "times, attributes, ACLs,\n"
                "hard links and holes.\n"
                "\n"
                "      --to=DIR           the directory to be filled\n"
                "      --json             print an object that sums up\n"
                "  -s, --store=STORE      the store's directory\n",
        .run = run,
};
