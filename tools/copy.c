/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * coppice copy: copy a store, mounted or not.
 *
 * The process that has the store open writes the file, but this process opens
 * it, with the caller's permissions and in the caller's mount namespace.  The
 * file has no name until it is complete, so nothing is left if this process
 * ends early; if the file system does not support that, the file is "partial"
 * in a directory beside NEW.  The complete file gets a name in that directory,
 * which is renamed to NEW when everything in it is durable.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "store_access.h"
#include "command.h"
#include "target.h"
#include "row.h"
#include "escaped_name.h"
#include "stopping.h"
#include "util.h"

static const struct field fields[] = {
        {"path", "Path", FIELD_NAME, 0},
        {"bytes", "Size", FIELD_SIZE, 0},
        {"identity", "Identity", FIELD_NAME, 0},
        {0},
};

struct copy {
	const char *path; /* NEW, as it was given */
	char *full;       /* the same without slashes at its end */
	char *parent;     /* its directory */
	char *aside;      /* directory that becomes NEW; NULL: not made yet */
	int fd;           /* the file, which becomes data.mdb */
	bool named;       /* the file has a name in `aside`, "partial" */
	bool terminal;    /* progress is shown, in a line that is overwritten */
	bool shown;
};

/* ---- Progress ----------------------------------------------------------- */

static void progress_clear(struct copy *copy)
{
	if (copy->shown)
		fputs("\r\033[K", stderr);
	copy->shown = false;
}

static int on_row(void *arg, json_t *row)
{
	struct copy *copy = arg;
	json_int_t done = json_integer_value(json_object_get(row, "done"));
	json_int_t all = json_integer_value(json_object_get(row, "all"));

	if (stopping_signal())
		return -EINTR;
	if (!copy->terminal)
		return 0;
	progress_clear(copy);
	fprintf(stderr, "copying: %d%%",
	        all > 0 ? (int)(100.0 * (double)done / (double)all) : 0);
	copy->shown = true;
	return 0;
}

/* ---- The files ---------------------------------------------------------- */

static int copy_fail(const struct copy *copy, int err)
{
	complain("cannot make a copy at '%s': %s", copy->path,
	         err == -EEXIST ? "it exists already" : strerror(-err));
	return EXIT_FAILED;
}

/* Make the directory that will be NEW. */
static int aside_make(struct copy *copy)
{
	char *name;

	if (asprintf(&name, "%s/.coppice-copy-XXXXXX", copy->parent) < 0)
		return -ENOMEM;
	if (!mkdtemp(name)) {
		int err = -errno;

		free(name);
		return err;
	}
	copy->aside = name;
	return 0;
}

static int file_make(struct copy *copy)
{
	_cleanup_free_ char *name = NULL;
	int r;

	copy->fd = open(copy->parent, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (copy->fd >= 0)
		return 0;
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL &&
	    errno != ENOENT)
		return -errno;
	r = aside_make(copy);
	if (r)
		return r;
	if (asprintf(&name, "%s/partial", copy->aside) < 0)
		return name = NULL, -ENOMEM;
	copy->named = true;
	copy->fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return copy->fd < 0 ? -errno : 0;
}

static int copy_init(struct copy *copy, const char *path)
{
	_cleanup_free_ char *text = strdup(path);
	size_t len = strlen(path);
	struct stat st;

	copy->path = path;
	if (!text || !len)
		return len ? -ENOMEM : -ENOENT;
	while (len > 1 && path[len - 1] == '/')
		len--;
	copy->full = strndup(path, len);
	copy->parent = strdup(dirname(text));
	if (!copy->full || !copy->parent)
		return -ENOMEM;
	if (!lstat(copy->full, &st))
		return -EEXIST;
	return errno == ENOENT ? file_make(copy) : -errno;
}

static void copy_release(struct copy *copy)
{
	_cleanup_free_ char *name = NULL;

	progress_clear(copy);
	close_fd(&copy->fd);
	if (copy->aside) {
		if (asprintf(&name, "%s/partial", copy->aside) < 0)
			name = NULL;
		if (name && copy->named)
			unlink(name);
		store_remove(copy->aside);
	}
	free(copy->aside);
	free(copy->parent);
	free(copy->full);
}

/* Give the complete file its name. */
static int file_name(struct copy *copy)
{
	_cleanup_free_ char *data = NULL, *from = NULL;
	int r = copy->aside ? 0 : aside_make(copy);

	if (r)
		return r;
	if (asprintf(&data, "%s/data.mdb", copy->aside) < 0)
		return data = NULL, -ENOMEM;
	if (copy->named)
		r = asprintf(&from, "%s/partial", copy->aside);
	else
		r = asprintf(&from, "/proc/self/fd/%d", copy->fd);
	if (r < 0)
		return from = NULL, -ENOMEM;
	r = copy->named
	            ? rename(from, data)
	            : linkat(AT_FDCWD, from, AT_FDCWD, data, AT_SYMLINK_FOLLOW);
	return r < 0 ? -errno : 0;
}

static int directory_sync(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int renew_identity(const struct copy *copy, json_t *answer)
{
	const struct store_options options = {0};
	struct store *store;
	struct stat st;
	char hex[33];
	int closed, r = store_open(copy->aside, &options, &store);

	if (r)
		return r;
	r = store_renew_identity(store);
	for (int i = 0; i < 16; i++)
		snprintf(hex + 2 * i, 3, "%02x", store_uuid(store)[i]);
	closed = store_close(store);
	if (!r && fstat(copy->fd, &st) < 0)
		r = -errno;
	if (!r &&
	    json_object_set_new(answer, "bytes", json_integer(st.st_size)))
		r = -ENOMEM;
	if (!r && json_object_set_new(answer, "identity", json_string(hex)))
		r = -ENOMEM;
	return r ? r : closed;
}

/* Rename the directory to NEW, unless NEW exists by now. */
static int publish(struct copy *copy)
{
	int r = directory_sync(copy->aside);

	if (r)
		return r;
	r = renameat2(AT_FDCWD, copy->aside, AT_FDCWD, copy->full,
	              RENAME_NOREPLACE);
	/* Without support for the flag, replace an empty directory at most. */
	if (r < 0 && errno == EINVAL)
		r = rename(copy->aside, copy->full);
	if (r < 0)
		return errno == ENOTEMPTY || errno == ENOTDIR ? -EEXIST
		                                              : -errno;
	free(steal(&copy->aside));
	return directory_sync(copy->parent);
}

static int finish(struct copy *copy, bool new_identity, json_t *answer)
{
	int r = fsync(copy->fd) < 0 ? -errno : 0;

	if (!r)
		r = file_name(copy);
	if (!r && new_identity)
		r = renew_identity(copy, answer);
	if (!r && stopping_signal())
		r = -EINTR;
	return r ? r : publish(copy);
}

/* ---- The verb ----------------------------------------------------------- */

/* Copy the store.  If a signal stopped that, end by the signal. */
static int copy_store(const char *store, const char *path, bool new_identity,
                      bool json)
{
	struct copy copy = {.fd = -1, .terminal = isatty(STDERR_FILENO)};
	struct printer printer = {.fields = fields, .json = true};
	json_auto_t *answer = NULL;
	struct store_access access;
	int r, closed;

	r = store_access_open(&access, store, true);
	if (r)
		return r;
	stopping_catch();
	r = copy_init(&copy, path);
	if (r) {
		r = copy_fail(&copy, r);
	} else {
		r = store_access_copy(&access, copy.fd, on_row, &copy, &answer);
		progress_clear(&copy);
	}
	closed = store_access_close(&access);
	if (!r)
		r = closed;
	if (!r) {
		r = finish(&copy, new_identity, answer);
		r = r ? copy_fail(&copy, r) : 0;
	}
	copy_release(&copy);
	if (r && stopping_signal())
		raise(stopping_signal());
	if (!r && json) {
		json_object_set_new(answer, "path", name_escape(path));
		printer_object(&printer, answer);
	}
	return r;
}

static int run(const struct command *self, int argc, char **argv)
{
	_cleanup_(target_release) struct target target = {0};
	bool identity = false, json = false;
	const char *store = NULL;
	int r;
	const struct command_option options[] = {
	        {"store", 's', .value = &store},
	        {"new-identity", .flag = &identity},
	        {"json", .flag = &json},
	        {0},
	};

	if (!command_parse(self, options, 1, 2, &argc, &argv, &r))
		return r;
	if (store && argc == 2)
		return command_usage(self, NULL);
	if (argc == 2)
		store = argv[0];
	r = target_init(&target, store);
	if (!r)
		r = target_store(&target);
	if (!r)
		r = copy_store(target.store, argv[argc - 1], identity, json);
	return r ? r : finish_output(EXIT_DONE);
}

const struct command command_copy = {
        .name = "copy",
        .args = "[--new-identity] [--json] [STORE] NEW",
        .summary = "Copy a whole store, mounted or not",
        .help = "NEW is a directory that does not exist yet.  The copy has "
                "everything that was\n"
                "in the store when the verb was called, and is on the disk "
                "when it returns; the\n"
                "store may be in use.  If the copy fails, NEW is not "
                "created.\n"
                "\n"
                "      --new-identity     make it another store; otherwise "
                "it keeps the\n"
                "                         identity, as a backup does\n"
                "      --json             an object that describes the copy\n"
                "  -s, --store=STORE      the store's directory\n",
        .run = run,
};
