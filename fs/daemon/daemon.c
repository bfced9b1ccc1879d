/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon: open the store, listen, serve, close. */
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "autosnap.h"
#include "control_address.h"
#include "guard.h"
#include "json_line.h"
#include "mount_request.h"
#include "mountinfo.h"
#include "error_message.h"
#include "util.h"

enum {
	START_MS = 10000, /* for the first mount to arrive */
	LEAVE_MS = 3000,  /* for unmounted mounts, and for requests, to end */
	ARENAS = 2,
	COMMITTER_NICE = 4, /* requests take precedence */
};

void daemon_block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static void notify(int fd)
{
	/* The only error is a full counter: the event is set then. */
	if (eventfd_write(fd, 1) < 0)
		return;
}

void daemon_changed(struct daemon *daemon)
{
	notify(daemon->wake);
	for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
		if (daemon->connections[i].socket >= 0)
			notify(daemon->connections[i].wake);
	}
}

static void session_ended(void *arg)
{
	struct daemon *daemon = arg;

	daemon_count(daemon, -1);
}

void daemon_count(struct daemon *daemon, int sessions)
{
	pthread_mutex_lock(&daemon->lock);
	daemon->sessions += sessions;
	daemon->mounted |= daemon->sessions > 0;
	daemon_changed(daemon);
	pthread_mutex_unlock(&daemon->lock);
}

int daemon_begin(struct daemon *daemon, bool mounting)
{
	int err = 0;

	pthread_mutex_lock(&daemon->lock);
	if (daemon->ending) {
		err = -EAGAIN;
	} else {
		daemon->busy++;
		daemon->mounting += mounting;
	}
	pthread_mutex_unlock(&daemon->lock);
	return err;
}

void daemon_end(struct daemon *daemon, bool mounting)
{
	pthread_mutex_lock(&daemon->lock);
	daemon->busy--;
	daemon->mounting -= mounting;
	pthread_cond_broadcast(&daemon->idle);
	daemon_changed(daemon);
	pthread_mutex_unlock(&daemon->lock);
}

/* ---- Opening ------------------------------------------------------------ */

static int fail_open(char **ret_error, int err, const char *path)
{
	_cleanup_free_ char *message = store_open_message("mount", path, err);
	bool readable = err == -EROFS || err == -EBADMSG;

	return error_message_set(
	        ret_error, err, "%s%s", message ? message : strerror(-err),
	        readable ? ": it can only be mounted with -o ro" : "");
}

static int open_store(struct daemon *daemon,
                      const struct mount_options *options, char **ret_error)
{
	struct store_options store_options = {.memory = options->memory,
	                                      .nice = COMMITTER_NICE,
	                                      .no_log = options->no_log};
	struct fs_options fs_options = {0}; /* each session has its own */
	int err = store_open(options->store, &store_options, &daemon->store);

	if ((err == -EROFS || err == -EBADMSG) && options->readonly) {
		store_options.readonly = true;
		err = store_open(options->store, &store_options,
		                 &daemon->store);
	}
	if (err == 0)
		err = forest_open(daemon->store, &daemon->forest);
	if (err == 0)
		err = fs_create(daemon->forest, &fs_options, &daemon->fs);
	return err < 0 ? fail_open(ret_error, err, options->store) : 0;
}

/*
 * Listen on the store's control socket.  This process holds the store's lock,
 * so an existing socket is stale.
 */
static int listen_at(struct daemon *daemon, const char *store)
{
	bool readonly = store_is_readonly(daemon->store);
	struct sockaddr_un address;
	socklen_t len = sizeof(address);
	_cleanup_close_ int dir = -1;
	_cleanup_close_ int fd = -1;
	struct stat st;
	mode_t mask;
	int err = 0;

	dir = open(store, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || fstat(dir, &st) < 0)
		return -errno;
	daemon->owner = st.st_uid;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (!readonly && unlinkat(dir, "control", 0) < 0 && errno != ENOENT)
		return -errno;
	if (readonly)
		err = control_address_abstract(dir, &address, &len);
	else
		control_address(dir, &address);
	if (err < 0)
		return err;
	mask = umask(0177);
	err = bind(fd, (struct sockaddr *)&address, len) < 0 ? -errno : 0;
	umask(mask);
	/* Let the owner connect, too, when root mounts. */
	if (err == 0 && !readonly && !geteuid() && st.st_uid &&
	    fchownat(dir, "control", st.st_uid, (gid_t)-1,
	             AT_SYMLINK_NOFOLLOW) < 0)
		log_warning("cannot give the socket of '%s' to its owner: %s",
		            store, strerror(errno));
	if (err == 0 && listen(fd, CONNECTIONS_MAX) < 0)
		err = -errno;
	if (err == 0)
		daemon->listen = steal_fd(&fd);
	return err;
}

static int open_events(struct daemon *daemon)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	daemon->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	daemon->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return daemon->signals < 0 || daemon->wake < 0 ? -errno : 0;
}

static int begin_autosnap(void *arg)
{
	return daemon_begin(arg, false);
}

static void end_autosnap(void *arg)
{
	daemon_end(arg, false);
}

/* Start the thread for mounts with -o autosnap=. */
static int start_autosnap(struct daemon *daemon)
{
	const struct autosnap_options options = {
	        .fs = daemon->fs,
	        .mounts = &daemon->mounts,
	        .uid = geteuid(),
	        .begin = begin_autosnap,
	        .end = end_autosnap,
	        .arg = daemon,
	};

	return autosnap_create(&options, &daemon->autosnap);
}

int daemon_create(const struct mount_options *options,
                  struct daemon **ret_daemon, char **ret_error)
{
	struct daemon *daemon = calloc(1, sizeof(*daemon));
	int err;

	if (!daemon)
		return error_message_set(ret_error, -ENOMEM, "out of memory");
	/* Share few malloc arenas: the memory= limit covers all threads. */
	mallopt(M_ARENA_MAX, ARENAS);
	daemon->listen = daemon->signals = daemon->wake = -1;
	for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
		daemon->connections[i] =
		        (struct connection){.daemon = daemon, .socket = -1};
	}
	pthread_mutex_init(&daemon->lock, NULL);
	cond_init_monotonic(&daemon->idle);
	daemon->started = mono_ns();
	err = guard_create(options->store, &daemon->guard);
	if (err < 0)
		log_warning("cannot start the guard process: %s",
		            strerror(-err));
	err = open_store(daemon, options, ret_error);
	if (err == 0) {
		err = open_events(daemon);
		if (err == 0)
			err = listen_at(daemon, options->store);
		if (err == 0)
			err = mounts_init(&daemon->mounts, daemon->fs,
			                  session_ended, daemon);
		if (err < 0)
			error_message_set(ret_error, err,
			                  "cannot serve the store '%s': %s",
			                  options->store, strerror(-err));
	}
	if (err < 0) {
		daemon_destroy(daemon);
		return err;
	}
	daemon->mounts.guard = daemon->guard;
	err = start_autosnap(daemon);
	if (err < 0) {
		error_message_set(ret_error, err, "cannot start a thread: %s",
		                  strerror(-err));
		daemon_destroy(daemon);
		return err;
	}
	*ret_daemon = daemon;
	return 0;
}

/* ---- Serving ------------------------------------------------------------ */

static void accept_connection(struct daemon *daemon)
{
	struct connection *connection = NULL;
	pthread_attr_t attr;
	pthread_t thread;
	int fd = accept4(daemon->listen, NULL, NULL, SOCK_CLOEXEC);
	int err = -1;

	if (fd < 0)
		return;
	pthread_mutex_lock(&daemon->lock);
	for (size_t i = 0; i < CONNECTIONS_MAX && !connection; i++) {
		if (daemon->connections[i].socket < 0)
			connection = &daemon->connections[i];
	}
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (connection) {
		connection->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		connection->socket = fd;
		err = connection->wake < 0
		              ? errno
		              : pthread_create(&thread, &attr, connection_main,
		                               connection);
		if (err == 0) {
			daemon->connected++;
		} else {
			close_fd(&connection->wake);
			connection->socket = -1;
		}
	}
	pthread_attr_destroy(&attr);
	pthread_mutex_unlock(&daemon->lock);
	if (err)
		close(fd);
}

/*
 * Return true if no mount is left to serve: the last one has ended, or the
 * first one failed or did not arrive in time.
 */
static bool is_over(struct daemon *daemon, bool *ret_accepts)
{
	int64_t age = mono_ns() - daemon->started;
	bool over;

	pthread_mutex_lock(&daemon->lock);
	over = daemon->sessions == 0 && daemon->mounting == 0 &&
	       (daemon->mounted ||
	        (daemon->connected == 0 &&
	         (daemon->left || age > START_MS * INT64_C(1000000))));
	if (over)
		daemon->ending = true;
	*ret_accepts = daemon->connected < CONNECTIONS_MAX;
	pthread_mutex_unlock(&daemon->lock);
	return over;
}

static int leave_mount(void *arg, struct session *session)
{
	struct mount_entry entry;
	char reason[256];

	/* The mount may be in another mount namespace, or have been moved. */
	if (mount_entry_find_device(session->device, &entry) == 0)
		mountpoint_unmount(entry.mountpoint, MNT_DETACH, reason,
		                   sizeof(reason));
	return 0;
}

static int abort_mount(void *arg, struct session *session)
{
	session_abort(session);
	return 0;
}

static bool serves_mounts(struct daemon *daemon)
{
	bool serves;

	pthread_mutex_lock(&daemon->lock);
	serves = daemon->sessions > 0;
	pthread_mutex_unlock(&daemon->lock);
	return serves;
}

static void wait_for_mounts(struct daemon *daemon, int ms)
{
	int64_t end = mono_ns() + ms * INT64_C(1000000);

	while (serves_mounts(daemon)) {
		struct pollfd p = {daemon->wake, POLLIN, 0};
		int64_t left = (end - mono_ns()) / 1000000;
		eventfd_t count;

		if (ms >= 0 && left <= 0)
			return;
		if (poll(&p, 1, ms < 0 ? -1 : (int)left) > 0)
			eventfd_read(daemon->wake, &count);
	}
}

/* End all mounts, in use or not. */
static void end_mounts(struct daemon *daemon)
{
	pthread_mutex_lock(&daemon->lock);
	daemon->ending = true;
	while (daemon->mounting)
		pthread_cond_wait(&daemon->idle, &daemon->lock);
	pthread_mutex_unlock(&daemon->lock);
	/* A failed sync is retried until the store is closed. */
	store_sync(daemon->store);
	mounts_each(&daemon->mounts, leave_mount, NULL);
	wait_for_mounts(daemon, LEAVE_MS);
	mounts_each(&daemon->mounts, abort_mount, NULL);
	wait_for_mounts(daemon, -1);
}

/*
 * Refuse the connections that were not accepted yet, so that their requests are
 * sent again to the next daemon.
 */
static void refuse_pending(struct daemon *daemon)
{
	int fd;

	/* No new connection is made after this. */
	shutdown(daemon->listen, SHUT_RDWR);
	while ((fd = accept4(daemon->listen, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		json_t *error = connection_refusal();

		if (error)
			json_line_write(fd, error, -1, 0);
		json_decref(error);
		close(fd);
	}
}

static void stop_listening(struct daemon *daemon)
{
	char path[PATH_MAX], dir[PATH_MAX - sizeof("/control")];

	refuse_pending(daemon);
	close_fd(&daemon->listen);
	daemon->listen = -1;
	if (store_is_readonly(daemon->store))
		return;
	/* The path that was opened may lead to another store by now. */
	store_where(daemon->store, dir, sizeof(dir));
	snprintf(path, sizeof(path), "%s/control", dir);
	if (unlink(path) < 0)
		log_warning("cannot remove '%s': %s", path, strerror(errno));
}

/*
 * End the waiting of a request for its sender: for the data of an import, or
 * for the reading of an export or of the answer.  Lock held.
 */
static void request_cut(struct connection *connection)
{
	connection->cut = shutdown(connection->fd, SHUT_RDWR) == 0;
	if (!connection->cut)
		shutdown(connection->socket, SHUT_RDWR);
}

/*
 * Wait for the requests at work.  After LEAVE_MS the remaining ones stop
 * waiting for their senders.  Lock held; released while waiting.
 */
static void wait_for_requests(struct daemon *daemon)
{
	struct timespec ts;
	int err = 0;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_sec += LEAVE_MS / 1000;
	while (daemon->busy && err != ETIMEDOUT)
		err = pthread_cond_timedwait(&daemon->idle, &daemon->lock, &ts);
	for (size_t i = 0; daemon->busy && i < CONNECTIONS_MAX; i++) {
		if (daemon->connections[i].socket >= 0 &&
		    daemon->connections[i].serving)
			request_cut(&daemon->connections[i]);
	}
	while (daemon->busy)
		pthread_cond_wait(&daemon->idle, &daemon->lock);
}

char *daemon_loss_message(const struct daemon *daemon, int err)
{
	const struct store_loss *loss = &daemon->loss;
	char *text;

	if (asprintf(&text,
	             "the last changes could not be saved: %s; those of the "
	             "last %llu seconds (about %llu KiB) are lost",
	             strerror(-err), (unsigned long long)loss->ms / 1000 + 1,
	             (unsigned long long)loss->bytes / 1024 + 1) < 0)
		return NULL;
	return text;
}

static int close_all(struct daemon *daemon)
{
	struct store_loss loss = {0};
	int err;

	/* No new request begins; those at work are finished. */
	pthread_mutex_lock(&daemon->lock);
	for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
		if (daemon->connections[i].socket >= 0)
			shutdown(daemon->connections[i].socket, SHUT_RD);
	}
	wait_for_requests(daemon);
	pthread_mutex_unlock(&daemon->lock);

	autosnap_destroy(steal(&daemon->autosnap));
	mounts_release(&daemon->mounts);
	fs_destroy(steal(&daemon->fs));
	forest_close(steal(&daemon->forest));
	err = store_close_loss(steal(&daemon->store), &loss);

	pthread_mutex_lock(&daemon->lock);
	daemon->closed = true;
	daemon->close_err = err;
	daemon->loss = loss;
	daemon_changed(daemon);
	while (daemon->connected)
		pthread_cond_wait(&daemon->idle, &daemon->lock);
	pthread_mutex_unlock(&daemon->lock);
	return err;
}

int daemon_run(struct daemon *daemon)
{
	bool accepts, asked = false;

	while (!is_over(daemon, &accepts) && !asked) {
		struct pollfd fds[] = {
		        {daemon->wake, POLLIN, 0},
		        {daemon->signals, POLLIN, 0},
		        {guard_poll_fd(daemon->guard), 0, 0},
		        {daemon->listen, POLLIN, 0},
		};
		struct signalfd_siginfo info;
		eventfd_t count;

		/* Wake up to time out if the first mount does not come. */
		if (poll(fds, accepts ? 4 : 3,
		         serves_mounts(daemon) ? -1 : 1000) < 0 &&
		    errno != EINTR)
			break;
		if (fds[0].revents)
			eventfd_read(daemon->wake, &count);
		if (fds[1].revents &&
		    read(daemon->signals, &info, sizeof(info)) == sizeof(info))
			asked = true;
		if (fds[2].revents)
			guard_lost(daemon->guard);
		if (accepts && fds[3].revents)
			accept_connection(daemon);
		pthread_mutex_lock(&daemon->lock);
		asked |= daemon->ending;
		pthread_mutex_unlock(&daemon->lock);
	}
	end_mounts(daemon);
	/* Remove the socket before the store's lock, which protects it, goes.
	 */
	stop_listening(daemon);
	return close_all(daemon);
}

void daemon_stop(struct daemon *daemon)
{
	pthread_mutex_lock(&daemon->lock);
	daemon->ending = true;
	daemon_changed(daemon);
	pthread_mutex_unlock(&daemon->lock);
}

void daemon_destroy(struct daemon *daemon)
{
	if (!daemon)
		return;
	autosnap_destroy(daemon->autosnap);
	fs_destroy(daemon->fs);
	forest_close(daemon->forest);
	store_close(daemon->store);
	close_fd(&daemon->listen);
	close_fd(&daemon->signals);
	close_fd(&daemon->wake);
	guard_destroy(daemon->guard);
	/* The thread of a session that did not end still uses the daemon. */
	if (daemon->mounts.left)
		return;
	pthread_cond_destroy(&daemon->idle);
	pthread_mutex_destroy(&daemon->lock);
	free(daemon);
}
