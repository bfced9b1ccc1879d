/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "patch.h"

#include <errno.h>
#include <spawn.h>
#include <sys/wait.h>

#include "command.h"
#include "content.h"
#include "path_text.h"
#include "util.h"

extern char **environ;

static const char *row_text(const json_t *row, const char *key)
{
	const char *text = json_string_value(json_object_get(row, key));

	return text ? text : "";
}

void patch_release(struct patch *patch)
{
	json_decref(patch->row);
	for (int i = 0; i < 2; i++) {
		if (patch->sides[i])
			fclose(patch->sides[i]);
	}
	*patch = (struct patch){0};
}

/* Write "a/path" or "b/path"; if the side does not exist, /dev/null. */
static void label_make(const json_t *row, int side, char *out, size_t size)
{
	static const char missing[] = {'+', '-'}; /* ops without a, without b */
	const json_t *from = json_object_get(row, "from");
	char text[PATH_TEXT_MAX];

	if (*row_text(row, "op") == missing[side]) {
		snprintf(out, size, "/dev/null");
		return;
	}
	if (side || json_is_null(from))
		from = json_object_get(row, "path");
	snprintf(out, size, "%c%s", "ab"[side], path_text(from, false, text));
}

/* Run diff(1) on the two sides; it writes to this standard output. */
static int run_diff(const struct patch *patch, char *labels[2])
{
	char files[2][32];
	char *argv[] = {"diff",    "-u",      "-a",     "--label", labels[0],
	                "--label", labels[1], files[0], files[1],  NULL};
	int status, r;
	pid_t pid;

	for (int i = 0; i < 2; i++) {
		snprintf(files[i], sizeof(files[i]), "/dev/null");
		if (patch->sides[i])
			snprintf(files[i], sizeof(files[i]), "/dev/fd/%d",
			         fileno(patch->sides[i]));
	}
	fflush(stdout);
	r = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);
	if (r) {
		complain("cannot run diff(1): %s", strerror(r));
		return -r;
	}
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return WIFEXITED(status) && WEXITSTATUS(status) < 2 ? 0 : -EPIPE;
}

/* Print a change without contents, as a line that patch(1) skips. */
static void note_print(const json_t *row)
{
	const json_t *from = json_object_get(row, "from");
	char path[PATH_TEXT_MAX], old[PATH_TEXT_MAX];

	path_text(json_object_get(row, "path"), false, path);
	if (json_is_null(from))
		printf("# %s %s\n", row_text(row, "op"), path);
	else
		printf("# %s %s -> %s\n", row_text(row, "op"),
		       path_text(from, false, old), path);
}

int patch_end(struct patch *patch)
{
	_cleanup_free_ char *a = malloc(PATH_TEXT_MAX);
	_cleanup_free_ char *b = malloc(PATH_TEXT_MAX);
	char *labels[] = {a, b};
	json_t *text = json_object_get(patch->row, "text");
	int r = 0;

	if (!a || !b)
		return -ENOMEM;
	if (!patch->row)
		return 0;
	label_make(patch->row, 0, a, PATH_TEXT_MAX);
	label_make(patch->row, 1, b, PATH_TEXT_MAX);
	if (!text)
		note_print(patch->row);
	else if (json_is_false(text))
		printf("Binary files %s and %s differ\n", a, b);
	else
		r = run_diff(patch, labels);
	patch_release(patch);
	return r;
}

int patch_row(struct patch *patch, json_t *row)
{
	int side = *row_text(row, "side") == 'b';
	int r;

	if (!content_is_row(row)) {
		r = patch_end(patch);
		patch->row = json_incref(row);
		return r;
	}
	if (!patch->sides[side] && !(patch->sides[side] = tmpfile())) {
		r = -errno;
		complain("cannot make a temporary file: %s", strerror(errno));
		return r;
	}
	r = content_write(fileno(patch->sides[side]), row, false);
	if (r < 0)
		complain("cannot write to a temporary file: %s", strerror(-r));
	return r;
}
