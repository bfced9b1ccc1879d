/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The command's process makes the mount, in its own mount namespace, and hands
 * the descriptor of /dev/fuse to the daemon, which it starts first if there is
 * none.
 */
#include "client_mount.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>

#include "daemon.h"
#include "daemon_client.h"
#include "mountinfo.h"
#include "detach.h"
#include "error_message.h"
#include "escaped_name.h"
#include "fuse_mount.h"
#include "utab.h"
#include "util.h"

enum {
	BUSY_MS = 5000, /* wait while another process has the store open */
	RETRY_MS = 20,
	LEAVE_MS = 3000, /* wait for a daemon without a mount to end */
	READ_AHEAD_KIB = 2048,
};

static void nap(void)
{
	struct timespec ts = {0, RETRY_MS * 1000000L};

	nanosleep(&ts, NULL);
}

/* A mount to be made, with its paths resolved. */
struct mounting {
	const struct mount_options *options;
	char store[PATH_MAX];
	char mountpoint[PATH_MAX];
};

/* ---- Checks ------------------------------------------------------------- */

static int check_root_only(const struct mount_options *options,
                           char **ret_error)
{
	if (!options->root_only)
		return 0;
	if (geteuid() != 0)
		return error_message_set(ret_error, -EPERM,
		                         "only root can mount with "
		                         "access=root");
	if (options->allow_other)
		return error_message_set(ret_error, -EINVAL,
		                         "access=root and allow_other exclude "
		                         "each other");
	return 0;
}

static int check_store(const char *given, char ret_path[PATH_MAX],
                       char **ret_error)
{
	char data[PATH_MAX];

	if (!realpath(given, ret_path))
		return error_message_set(ret_error, -errno,
		                         "cannot find the store '%s': %s",
		                         given, strerror(errno));
	if ((size_t)snprintf(data, sizeof(data), "%s/data.mdb", ret_path) >=
	    sizeof(data))
		return error_message_set(
		        ret_error, -ENAMETOOLONG,
		        "the path of the store '%s' is too long", given);
	if (access(data, F_OK) < 0)
		return error_message_set(
		        ret_error, -ENOENT,
		        "there is no store at '%s' (coppice init makes "
		        "one)",
		        given);
	return 0;
}

static bool is_empty(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	/* EACCES on the mount point does not prevent mounting. */
	while (dir && (entry = readdir(dir))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		closedir(dir);
		return false;
	}
	if (dir)
		closedir(dir);
	return true;
}

static int check_mountpoint(struct mounting *m, char **ret_error)
{
	const char *given = m->options->mountpoint;
	struct mount_entry entry;
	struct statvfs vfs;
	struct stat st;
	size_t len;
	int err = mountpoint_resolve(given, m->mountpoint);

	if (err < 0)
		return error_message_set(ret_error, err,
		                         "cannot find the mount point '%s': %s",
		                         given, strerror(-err));
	err = stat(m->mountpoint, &st) < 0 ? -errno : 0;
	if (mount_entry_find(m->mountpoint, &entry) < 0)
		entry.coppice = false;
	/* The kernel may have cached the attributes, but not statvfs(). */
	if (entry.coppice && err == 0 && statvfs(m->mountpoint, &vfs) < 0)
		err = -errno;
	if (err == -ENOTCONN || err == -ECONNABORTED)
		return error_message_set(
		        ret_error, err,
		        "'%s' is mounted, but nothing serves it any more: "
		        "coppice umount '%s' clears it",
		        given, given);
	if (err < 0)
		return error_message_set(ret_error, err,
		                         "cannot use the mount point '%s': %s",
		                         given, strerror(-err));
	if (!S_ISDIR(st.st_mode))
		return error_message_set(
		        ret_error, -ENOTDIR,
		        "the mount point '%s' is not a directory", given);
	if (entry.coppice && !m->options->is_private)
		return error_message_set(
		        ret_error, -EBUSY,
		        "the store '%s' is mounted at '%s' already",
		        entry.source, given);
	len = strlen(m->mountpoint);
	if (strncmp(m->store, m->mountpoint, len) == 0 &&
	    (m->store[len] == '/' || m->store[len] == 0))
		return error_message_set(
		        ret_error, -EINVAL,
		        "the store '%s' lies under the mount point '%s', "
		        "which would hide it",
		        m->store, given);
	if (!m->options->nonempty && !m->options->is_private &&
	    !is_empty(m->mountpoint))
		return error_message_set(
		        ret_error, -ENOTEMPTY,
		        "the mount point '%s' is not empty (-o nonempty "
		        "hides what is in it)",
		        given);
	return 0;
}

/* ---- The daemon --------------------------------------------------------- */

/*
 * Connect to the store's daemon.  If there is none, start one and set *ret_pid.
 */
static int connect_daemon(const struct mounting *m, int *ret_socket,
                          pid_t *ret_pid, char **ret_error)
{
	int64_t end = mono_ns() + BUSY_MS * INT64_C(1000000);
	struct mount_options options = *m->options;

	options.store = m->store;
	for (;;) {
		_cleanup_free_ char *error = NULL;
		int err = daemon_client_connect(m->store, ret_socket);

		if (err == 0)
			return 0;
		if (err != -ENOENT || options.is_private)
			return error_message_set(
			        ret_error, err,
			        "cannot ask the daemon of '%s': %s", m->store,
			        strerror(-err));
		err = daemon_spawn(&options, ret_pid, &error);
		/* -EBUSY: a command or another daemon has the store open. */
		if (err < 0 && (err != -EBUSY || mono_ns() > end)) {
			*ret_error = steal(&error);
			return err;
		}
		if (err < 0)
			nap();
	}
}

/* ---- Mounting ----------------------------------------------------------- */

/* Return the -o argument for libfuse, to be freed. */
static char *fuse_options(const struct mounting *m)
{
	const struct mount_options *o = m->options;
	_cleanup_free_ char *name = malloc(strlen(m->store) * 2 + 1);
	char *out = name, *text;

	if (!name)
		return NULL;
	for (const char *p = m->store; *p; p++) {
		if (*p == ',' || *p == '\\')
			*out++ = '\\';
		*out++ = *p;
	}
	*out = 0;
	if (asprintf(&text, "fsname=%s,subtype=coppice%s%s%s%s%s%s", name,
	             o->root_only ? "" : ",default_permissions",
	             !o->root_only && (o->allow_other || geteuid() == 0)
	                     ? ",allow_other"
	                     : "",
	             o->readonly ? ",ro" : "",
	             o->nosymfollow && geteuid() != 0 ? ",nosymfollow" : "",
	             o->extra && *o->extra ? "," : "",
	             o->extra ? o->extra : "") < 0)
		return NULL;
	return text;
}

/*
 * Set nosymfollow as root: libfuse before 3.17 does not have the option.
 */
static int set_nosymfollow(const struct mounting *m, char **ret_error)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_NOSYMFOLLOW};
	int err;

	if (mount_setattr(AT_FDCWD, m->mountpoint, 0, &attr, sizeof(attr)) == 0)
		return 0;
	err = -errno;
	return error_message_set(ret_error, err,
	                         "cannot mount with nosymfollow: %s",
	                         strerror(-err));
}

/* Mount, and return the descriptor that requests are read from. */
static int mount_make(const struct mounting *m, int *ret_fd, char **ret_error)
{
	_cleanup_free_ char *options = fuse_options(m);
	char reason[512] = "";
	int err = options ? fuse_mount_open(m->mountpoint, options, ret_fd,
	                                    reason, sizeof(reason))
	                  : -ENOMEM;

	if (err == -ENOMEM)
		return error_message_set(ret_error, err, "out of memory");
	if (err < 0)
		return error_message_set(
		        ret_error, err, "cannot mount at '%s'%s%s",
		        m->options->mountpoint, *reason ? ": " : "", reason);
	return 0;
}

static int hand_over(const struct mounting *m, int socket, int fd,
                     char **ret_error)
{
	static const char *const snapdirs[] = {
	        [SNAPDIR_HIDDEN] = "hidden",
	        [SNAPDIR_VISIBLE] = "visible",
	        [SNAPDIR_DISABLED] = "disabled",
	        [SNAPDIR_ROOT] = "root",
	};
	const struct mount_options *o = m->options;
	struct mount_entry entry = {.device = "?"};
	json_t *request, *answer = NULL;
	const json_t *error;
	int err;

	mount_entry_find(m->mountpoint, &entry);
	request = json_pack(
	        "{s:s, s:o, s:o, s:s, s:s, s:b, s:b, s:b, s:b, s:b, s:b, s:b, "
	        "s:b, s:b, s:I, s:s?}",
	        "verb", "mount", "mountpoint", name_escape(m->mountpoint),
	        "state", o->state ? name_escape(o->state) : json_null(),
	        "device", entry.device, "snapdir", snapdirs[o->snapdir],
	        "snapopen_late", o->snapopen_late, "rmdir_always",
	        o->rmdir_always, "sync", o->sync, "no_export", o->no_export,
	        "store_locks", o->store_locks, "readonly", o->readonly,
	        "root_only", o->root_only, "no_xattr", o->no_xattr,
	        "no_cpu_latency", o->no_cpu_latency, "autosnap",
	        (json_int_t)o->autosnap, "keep", o->keep);
	if (request && o->trash_set)
		json_object_set_new(request, "trash",
		                    json_integer((json_int_t)o->trash));
	err = request ? daemon_client_call(socket, request, fd, NULL, NULL,
	                                   &answer)
	              : -ENOMEM;
	json_decref(request);
	if (err < 0)
		return err == -EPIPE || err == -EAGAIN
		               ? -EAGAIN
		               : error_message_set(
		                         ret_error, err,
		                         "cannot ask the daemon of '%s': %s",
		                         m->store, strerror(-err));
	error = json_object_get(answer, "error");
	if (error) {
		err = -(int)json_integer_value(
		        json_object_get(answer, "errno"));
		if (err >= 0)
			err = -EIO;
		if (err != -EAGAIN)
			error_message_set(ret_error, err, "%s",
			                  json_string_value(error));
	}
	json_decref(answer);
	return err;
}

/*
 * Raise the read-ahead above the kernel's default for FUSE.  Only root is
 * permitted to; otherwise the default stays.
 */
static void set_read_ahead(const struct stat *st)
{
	char path[128];
	_cleanup_fclose_ FILE *f = NULL;

	snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb",
	         major(st->st_dev), minor(st->st_dev));
	f = fopen(path, "we");
	if (f)
		fprintf(f, "%d\n", READ_AHEAD_KIB);
}

/* Mount through the daemon at the socket.  -EAGAIN: it ended meanwhile. */
static int mount_through(const struct mounting *m, int socket, char **ret_error)
{
	_cleanup_close_ int fd = -1;
	char reason[256];
	struct stat st;
	int err = mount_make(m, &fd, ret_error);

	if (err < 0)
		return err;
	if (m->options->nosymfollow && geteuid() == 0)
		err = set_nosymfollow(m, ret_error);
	if (err == 0)
		err = hand_over(m, socket, fd, ret_error);
	/*
	 * Only the daemon's descriptor keeps the mount alive from here on.
	 */
	close(steal_fd(&fd));
	if (err == 0 && stat(m->mountpoint, &st) < 0)
		err = error_message_set(ret_error, -errno,
		                        "the mount at '%s' does not answer: %s",
		                        m->options->mountpoint,
		                        strerror(errno));
	if (err < 0) {
		mountpoint_unmount(m->mountpoint, MNT_DETACH, reason,
		                   sizeof(reason));
		return err;
	}
	set_read_ahead(&st);
	if (!m->options->is_private)
		utab_add(m->store, m->mountpoint);
	return 0;
}

static int mount_background(const struct mounting *m, char **ret_error)
{
	pid_t daemon = 0;
	int err;

	do {
		_cleanup_close_ int socket = -1;

		err = connect_daemon(m, &socket, &daemon, ret_error);
		if (err == 0)
			err = mount_through(m, socket, ret_error);
	} while (err == -EAGAIN);
	/* The next mount must not meet a daemon that is about to end. */
	if (err < 0 && daemon)
		daemon_wait(daemon, LEAVE_MS);
	return err;
}

/* ---- In the foreground -------------------------------------------------- */

struct foreground {
	const struct mounting *mounting;
	struct daemon *daemon;
	char *error;
	int err;
};

static void *foreground_mount(void *arg)
{
	struct foreground *f = arg;
	_cleanup_close_ int socket = -1;

	f->err = daemon_client_connect(f->mounting->store, &socket);
	if (f->err < 0)
		error_message_set(&f->error, f->err,
		                  "cannot connect to this process: %s",
		                  strerror(-f->err));
	else
		f->err = mount_through(f->mounting, socket, &f->error);
	if (f->err < 0)
		daemon_stop(f->daemon);
	return NULL;
}

static int mount_foreground(const struct mounting *m, char **ret_error)
{
	struct foreground f = {.mounting = m};
	struct mount_options options = *m->options;
	pthread_t thread;
	int err;

	options.store = m->store;
	daemon_block_signals();
	err = daemon_create(&options, &f.daemon, ret_error);
	if (err < 0)
		return err;
	err = -pthread_create(&thread, NULL, foreground_mount, &f);
	if (err < 0) {
		error_message_set(ret_error, err, "cannot start a thread: %s",
		                  strerror(-err));
		daemon_stop(f.daemon);
	}
	if (err == 0) {
		err = daemon_run(f.daemon);
		pthread_join(thread, NULL);
		if (f.err < 0) {
			err = f.err;
			*ret_error = f.error;
		} else if (err < 0) {
			*ret_error = daemon_loss_message(f.daemon, err);
		}
	}
	daemon_destroy(f.daemon);
	return err;
}

/* Wait until the mount, which another process serves, has ended. */
static int wait_for_end(const struct mounting *m)
{
	struct mount_entry entry;
	_cleanup_close_ int fd =
	        open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	struct pollfd p = {fd, POLLPRI, 0};

	while (mount_entry_find(m->mountpoint, &entry) == 0 && entry.coppice)
		poll(&p, 1, -1);
	return 0;
}

int client_mount(const struct mount_options *options, char **ret_error)
{
	_cleanup_free_ struct mounting *m = calloc(1, sizeof(*m));
	_cleanup_close_ int socket = -1;
	int err;

	if (!m)
		return error_message_set(ret_error, -ENOMEM, "out of memory");
	m->options = options;
	err = check_root_only(options, ret_error);
	if (err == 0)
		err = check_store(options->store, m->store, ret_error);
	if (err == 0)
		err = check_mountpoint(m, ret_error);
	if (err < 0)
		return err;
	if (options->foreground && daemon_client_connect(m->store, &socket) < 0)
		return mount_foreground(m, ret_error);
	err = mount_background(m, ret_error);
	if (err == 0 && options->foreground)
		err = wait_for_end(m);
	return err;
}

/* Ask the daemon to stay.  -EAGAIN: it is ending. */
static int stay(int socket)
{
	json_t *request = json_pack("{s:s}", "verb", "stay");
	json_t *answer = NULL;
	int err = request ? daemon_client_call(socket, request, -1, NULL, NULL,
	                                       &answer)
	                  : -ENOMEM;

	if (err == -EPIPE || (err == 0 && daemon_client_is_ending(answer)))
		err = -EAGAIN;
	json_decref(request);
	json_decref(answer);
	return err;
}

int client_daemon_open(const char *store, int *ret_socket, char **ret_error)
{
	const struct mount_options options = {.store = store};
	_cleanup_free_ struct mounting *m = calloc(1, sizeof(*m));
	pid_t daemon;
	int err;

	if (!m)
		return error_message_set(ret_error, -ENOMEM, "out of memory");
	m->options = &options;
	err = check_store(store, m->store, ret_error);
	if (err < 0)
		return err;
	do {
		_cleanup_close_ int socket = -1;

		err = connect_daemon(m, &socket, &daemon, ret_error);
		if (err < 0)
			return err;
		err = stay(socket);
		if (err == 0)
			*ret_socket = steal_fd(&socket);
	} while (err == -EAGAIN);
	return err < 0 ? error_message_set(ret_error, err,
	                                   "cannot ask the daemon of '%s': %s",
	                                   store, strerror(-err))
	               : 0;
}
