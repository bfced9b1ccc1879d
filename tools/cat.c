/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice cat: print files of states. */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <fcntl.h>

#include "store_access.h"
#include "command.h"
#include "content.h"
#include "target.h"
#include "util.h"

enum { FILES_MAX = 1000 };

struct output {
	bool sparse;
	int err;
};

static int on_row(void *arg, json_t *row)
{
	struct output *out = arg;

	out->err = content_write(STDOUT_FILENO, row, out->sparse);
	return out->err;
}

/* Return true if standard output is at the end of a file: holes can be kept. */
static bool is_sparse(void)
{
	int flags = fcntl(STDOUT_FILENO, F_GETFL);
	struct stat st;

	return flags >= 0 && !(flags & O_APPEND) &&
	       fstat(STDOUT_FILENO, &st) == 0 && S_ISREG(st.st_mode) &&
	       lseek(STDOUT_FILENO, 0, SEEK_CUR) >= st.st_size;
}

/* Extend the output file over a hole at the end. */
static int finish(const struct output *out, int code)
{
	int err = out->err;

	if (!err && out->sparse &&
	    ftruncate(STDOUT_FILENO, lseek(STDOUT_FILENO, 0, SEEK_CUR)) < 0)
		err = -errno;
	if (!err)
		return code;
	complain("cannot write to standard output: %s", strerror(-err));
	return EXIT_FAILED;
}

static int cat(struct target *target, struct output *out, const char *arg)
{
	_cleanup_free_ char *state = NULL, *path = NULL;
	int r = target_path(target, arg, &state, &path);

	if (!r)
		r = target_store(target);
	if (r)
		return r;
	r = store_request(
	        target->store, true,
	        request_new("cat", "state", state, "path", path, NULL), on_row,
	        out, NULL);
	return finish(out, r);
}

static int run(const struct command *self, int argc, char **argv)
{
	_cleanup_(target_release) struct target target = {0};
	struct output out = {.sparse = is_sparse()};
	const char *store = NULL;
	int r;
	const struct command_option options[] = {
	        {"store", 's', .value = &store},
	        {0},
	};

	if (!command_parse(self, options, 1, FILES_MAX, &argc, &argv, &r))
		return r;
	r = target_init(&target, store);
	for (int i = 0; !r && i < argc; i++)
		r = cat(&target, &out, argv[i]);
	return r;
}

const struct command command_cat = {
        .name = "cat",
        .args = "[-s STORE] STATE:/PATH...",
        .summary = "Print files of states",
        .help = "Prints the content of each file in turn, each as of one "
                "instant.  A path in a\n"
                "mount can be given, too.\n"
                "\n"
                "  -s, --store=STORE  the store's directory\n",
        .run = run,
};
