/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sessions, from the descriptor of a new mount to the mount's end.
 */
#define FUSE_USE_VERSION 312
#include "coherence.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cancel.h"
#include "device.h"
#include "guard.h"
#include "mounted_states.h"
#include "reach.h"
#include "statx.h"
#include "util.h"

/*
 * Hold a node in each session whose kernel has looked it up and may use it
 * without a request.
 */
static unsigned keep_node(void *arg, node_t node, bool regular)
{
	const struct mounts *mounts = arg;
	unsigned kept = 0;

	for (struct session *s = mounts->first; s; s = s->next)
		if (s->no_open || !regular)
			kept += lookups_hold(s->lookups, node);
	return kept;
}

int mounts_init(struct mounts *mounts, struct fs *fs, void (*ended)(void *arg),
                void *ended_arg)
{
	pthread_rwlockattr_t attr;
	int err;

	*mounts = (struct mounts){
	        .fs = fs,
	        .ended = ended,
	        .ended_arg = ended_arg,
	};
	err = lock_table_create(&mounts->locks);
	if (err < 0)
		return err;
	err = coherence_create(mounts, &mounts->coherence);
	if (err < 0) {
		lock_table_destroy(mounts->locks);
		return err;
	}
	/*
	 * Prefer writers: a stream of requests must not delay a new session.
	 */
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(
	        &attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&mounts->policy, &attr);
	pthread_rwlockattr_destroy(&attr);
	pthread_mutex_init(&mounts->append, NULL);
	fs_set_keeper(fs, keep_node, mounts);
	fs_set_in_use(fs, mounted_states_in_use, mounts);
	store_on_yield(forest_store(fs_forest(fs)), request_cancelled);
	store_on_stall(forest_store(fs_forest(fs)), loop_stall);
	return 0;
}

void mounts_release(struct mounts *mounts)
{
	fs_set_keeper(mounts->fs, NULL, NULL);
	fs_set_in_use(mounts->fs, NULL, NULL);
	store_on_yield(forest_store(fs_forest(mounts->fs)), NULL);
	store_on_stall(forest_store(fs_forest(mounts->fs)), NULL);
	/* A kernel may still use a session that could not be freed. */
	if (mounts->left)
		return;
	coherence_destroy(mounts->coherence);
	mounts->coherence = NULL;
	lock_table_destroy(mounts->locks);
	free(mounts->mounted);
	pthread_mutex_destroy(&mounts->append);
	pthread_rwlock_destroy(&mounts->policy);
}

unsigned mounts_count(struct mounts *mounts)
{
	unsigned count;

	pthread_rwlock_rdlock(&mounts->policy);
	count = mounts->count;
	pthread_rwlock_unlock(&mounts->policy);
	return count;
}

int mounts_others(struct mounts *mounts, const struct session *but,
                  struct session ***ret_sessions, size_t *ret_count)
{
	struct session **sessions;
	size_t count = 0;

	pthread_rwlock_rdlock(&mounts->policy);
	sessions = calloc(mounts->count + 1, sizeof(struct session *));
	for (struct session *s = mounts->first; sessions && s; s = s->next) {
		if (s == but)
			continue;
		session_ref(s);
		sessions[count++] = s;
	}
	pthread_rwlock_unlock(&mounts->policy);
	if (!sessions)
		return -ENOMEM;
	*ret_sessions = sessions;
	*ret_count = count;
	return 0;
}

int mounts_each(struct mounts *mounts,
                int (*fn)(void *arg, struct session *session), void *arg)
{
	_cleanup_free_ struct session **sessions = NULL;
	size_t count = 0;
	int result;

	result = mounts_others(mounts, NULL, &sessions, &count);
	for (size_t i = 0; i < count; i++) {
		if (result == 0)
			result = fn(arg, sessions[i]);
		session_unref(sessions[i]);
	}
	return result;
}

/* ---- One session -------------------------------------------------------- */

void session_ref(struct session *session)
{
	pthread_mutex_lock(&session->lock);
	session->refs++;
	pthread_mutex_unlock(&session->lock);
}

void session_unref(struct session *session)
{
	pthread_mutex_lock(&session->lock);
	session->refs--;
	pthread_mutex_unlock(&session->lock);
}

void session_abort(struct session *session)
{
	loop_stop(session->loop);
}

/*
 * Send the reply to INIT.  libfuse writes it to a socket; this function adds
 * the flags that libfuse lacks.  Then the device replaces the socket.
 */
static void session_answer_init(struct session *session)
{
	union {
		struct fuse_out_header header;
		uint8_t bytes[512];
	} reply;
	struct iovec iov[2] = {
	        {&reply, sizeof(reply.header)},
	        {reply.bytes + sizeof(reply.header), 0},
	};
	/* libfuse has replied by now or never will. */
	ssize_t n = recv(session->init_fd, &reply, sizeof(reply), MSG_DONTWAIT);

	if (n < (ssize_t)sizeof(reply.header) ||
	    dup3(session->fd, fuse_session_fd(session->fuse), O_CLOEXEC) < 0) {
		fuse_session_exit(session->fuse);
		return;
	}
	iov[1].iov_len = (size_t)n - sizeof(reply.header);
	protocol_adapt_init_reply(&session->protocol, iov, 2);
	if (writev(session->fd, iov, 2) < 0)
		fuse_session_exit(session->fuse);
}

static void session_free(struct session *session)
{
	if (!session)
		return;
	if (session->guarded)
		guard_remove(session->mounts->guard, session->id);
	notifier_destroy(session->notifier);
	notifier_destroy(session->name_notifier);
	loop_destroy(session->loop);
	if (session->fuse)
		fuse_session_destroy(session->fuse); /* closes its end */
	if (session->init_fd >= 0)
		close(session->init_fd);
	if (session->fd >= 0)
		close(session->fd);
	lookups_destroy(session->lookups);
	negatives_destroy(session->negatives);
	watchdog_release(&session->watchdog);
	pthread_mutex_destroy(&session->lock);
	free(session->mountpoint);
	free(session->device);
	free(session);
}

/* ---- Requests ----------------------------------------------------------- */

static void session_note(struct session *session, const void *request,
                         size_t len)
{
	const struct fuse_in_header *in = request;
	const struct fuse_interrupt_in *interrupt = (const void *)(in + 1);

	if (len < sizeof(*in))
		return;
	loop_set_number(in->unique);
	if (in->opcode == FUSE_INTERRUPT &&
	    len >= sizeof(*in) + sizeof(*interrupt))
		loop_interrupt(session->loop, interrupt->unique);
}

static bool session_handle(void *arg, void *request, size_t len)
{
	struct session *session = arg;
	struct fuse_buf buf = {.mem = request, .size = len};

	session_note(session, request, len);
	pthread_rwlock_rdlock(&session->mounts->policy);
	protocol_adapt(&session->protocol, buf.mem, &buf.size,
	               len + LOOP_GROWTH);
	if (!reach_refuse(session, buf.mem, buf.size) &&
	    !statx_answer(session, buf.mem, buf.size))
		fuse_session_process_buf(session->fuse, &buf);
	if (session->protocol.init_unique)
		session_answer_init(session);
	pthread_rwlock_unlock(&session->mounts->policy);
	return !fuse_session_exited(session->fuse);
}

static bool session_inspect(void *arg, const struct loop_busy *busy,
                            size_t count)
{
	struct session *session = arg;

	if (!count)
		fs_rest(session->fs);
	return watchdog_look(&session->watchdog, busy, count, mono_ns());
}

static const struct loop_ops session_ops = {
        .handle = session_handle,
        .inspect = session_inspect,
};

/* ---- Starting and ending a session -------------------------------------- */

/* Create libfuse's session, and take the descriptor. */
static int session_connect(struct session *session, int fd)
{
	char name[] = "coppice", path[32];
	char *argv[] = {name, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	int pair[2];

	session->fuse =
	        fuse_session_new(&args, &handlers, handlers_size, session);
	fuse_opt_free_args(&args);
	if (!session->fuse)
		return -ENOMEM;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	session->init_fd = pair[1];
	snprintf(path, sizeof(path), "/dev/fd/%d", pair[0]);
	if (fuse_session_mount(session->fuse, path)) {
		close(pair[0]);
		return -EINVAL;
	}
	session->fd = fd;
	return 0;
}

static int session_create(struct mounts *mounts,
                          const struct session_params *params,
                          struct session **ret_session)
{
	struct session *session = calloc(1, sizeof(*session));
	int err;

	if (!session)
		return -ENOMEM;
	session->mounts = mounts;
	session->fs = mounts->fs;
	session->fd = session->init_fd = -1;
	session->refs = 1;
	session->state = params->state;
	session->state_readonly = params->state_readonly;
	session->rmdir_always = params->rmdir_always;
	session->store_locks = params->store_locks;
	session->sync = params->sync;
	session->protocol.no_export = params->no_export;
	session->root_only = params->root_only;
	session->no_xattr = params->no_xattr;
	session->protocol.no_idmap = params->root_only;
	session->snapdir = params->snapdir;
	session->no_open = params->no_open;
	session->id = atomic_fetch_add(&mounts->next_id, 1) + 1;
	pthread_mutex_init(&session->lock, NULL);
	session->mountpoint = strdup(params->mountpoint);
	session->device = strdup(params->device);
	watchdog_init(&session->watchdog, session->mountpoint,
	              &mounts->threads_logged);
	err = session->mountpoint && session->device ? 0 : -ENOMEM;
	if (err == 0)
		err = lookups_create(&session->lookups);
	if (err == 0)
		err = negatives_create(&session->negatives);
	if (err == 0)
		err = loop_create(&session_ops, session, &session->loop);
	if (err == 0 && !params->no_cpu_latency)
		loop_limit_cpu_latency(session->loop);
	/* The kernel has the root directory without a lookup. */
	if (err == 0)
		err = lookups_add(session->lookups, session_node(session, 1));
	if (err == 0)
		err = session_connect(session, params->fd);
	if (err == 0)
		session->guarded =
		        guard_add(mounts->guard, session->id, session->fd);
	if (err == 0)
		err = notifier_create(session->fd, &session->notifier);
	if (err == 0)
		err = notifier_create(session->fd, &session->name_notifier);
	if (err < 0) {
		session->fd = -1; /* still owned by the caller */
		session_free(session);
		return err;
	}
	*ret_session = session;
	return 0;
}

/* The time that an ending session waits for its invalidations. */
#define UNUSED_MAX_NS INT64_C(5000000000)

/*
 * Wait until no other thread has a reference.  An invalidation may wait in the
 * kernel for a request that no worker handles any more: refuse such requests.
 * Return false after UNUSED_MAX_NS; the session must not be freed then.
 */
static bool wait_unused(struct session *session)
{
	_cleanup_free_ void *buf = malloc(LOOP_REQUEST_MAX);
	struct pollfd p = {session->fd, POLLIN, 0};
	int64_t limit = mono_ns() + UNUSED_MAX_NS;
	bool unused;

	coherence_release(session);
	pthread_mutex_lock(&session->lock);
	session->refs--;
	while (session->refs && mono_ns() < limit) {
		pthread_mutex_unlock(&session->lock);
		if (poll(&p, 1, 10) > 0 && (p.revents & POLLIN) && buf)
			device_refuse(session->fd, -ECONNABORTED, buf,
			              LOOP_REQUEST_MAX);
		else if (p.revents & ~POLLIN)
			usleep(1000);
		pthread_mutex_lock(&session->lock);
	}
	unused = session->refs == 0;
	pthread_mutex_unlock(&session->lock);
	return unused;
}

static void release_node(void *arg, node_t node)
{
	fs_release(arg, node);
}

/* Wait until the session is unused, then free it. */
static void session_end(struct session *session)
{
	struct mounts *mounts = session->mounts;

	pthread_rwlock_wrlock(&mounts->policy);
	mounted_states_leave(mounts, session);
	pthread_rwlock_unlock(&mounts->policy);

	/* libfuse reports answers that cannot be sent, unless it has exited. */
	fuse_session_exit(session->fuse);
	lock_table_drop_mount(mounts->locks, session->id);
	if (!wait_unused(session)) {
		log_warning(
		        "'%s' is not freed: a process keeps its kernel from "
		        "ending the connection",
		        session->mountpoint);
		pthread_rwlock_wrlock(&mounts->policy);
		session->next = mounts->left;
		mounts->left = session;
		pthread_rwlock_unlock(&mounts->policy);
		mounts->ended(mounts->ended_arg);
		return;
	}
	/*
	 * The kernel does not send the last releases when the connection ends.
	 */
	lookups_close_all(session->lookups, release_node, session->fs);
	session_free(session);
	mounts->ended(mounts->ended_arg);
}

static void *session_main(void *arg)
{
	struct session *session = arg;

	loop_run(session->loop, session->fd);
	session_end(session);
	return NULL;
}

/* Return -ESTALE if the state was deleted before the session was added. */
static int check_state(struct mounts *mounts,
                       const struct session_params *params)
{
	struct fs_entry entry = {
	        .node = NODE(params->state, INO_ROOT),
	        .generation = params->generation,
	};

	return params->state ? fs_confirm(mounts->fs, &entry) : 0;
}

int session_start(struct mounts *mounts, const struct session_params *params,
                  uint64_t *ret_id)
{
	struct session *session;
	pthread_attr_t attr;
	pthread_t thread;
	uint64_t id;
	int err;

	err = session_create(mounts, params, &session);
	if (err < 0)
		return err;
	id = session->id;
	pthread_rwlock_wrlock(&mounts->policy);
	err = mounted_states_join(mounts, session);
	pthread_rwlock_unlock(&mounts->policy);
	if (err < 0)
		goto fail;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	err = check_state(mounts, params);
	if (err == 0)
		err = -pthread_create(&thread, &attr, session_main, session);
	pthread_attr_destroy(&attr);
	if (err == 0) {
		*ret_id = id;
		return 0;
	}
	pthread_rwlock_wrlock(&mounts->policy);
	mounted_states_leave(mounts, session);
	pthread_rwlock_unlock(&mounts->policy);
fail:
	session->fd = -1; /* still owned by the caller */
	session_free(session);
	return err;
}

/* ---- Changes over the control socket ------------------------------------ */

void mounts_states_gone(struct mounts *mounts)
{
	struct changes changes = {.mounts = mounts, .gone = true};

	coherence_announce_wait(&changes);
}

void mounts_name_changed(struct mounts *mounts, uint64_t fork, const char *name,
                         bool fresh)
{
	node_t parent = fork ? NODE(fork, INO_SNAPDIR) : NODE_ROOT;
	struct changes changes = {
	        .mounts = mounts,
	        .links = true,
	        .fresh = fresh,
	};

	/* A kernel with the directory may have the state, too. */
	changes_name(&changes, parent, name, parent);
	coherence_announce_wait(&changes);
}
