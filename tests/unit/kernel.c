/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A kernel for one mount: see kernel.h. */
#include "kernel.h"

#include <sys/socket.h>
#include <sys/time.h>

static void ended(void *arg)
{
	struct kernel *k = arg;

	pthread_mutex_lock(&k->lock);
	k->ended = true;
	pthread_cond_signal(&k->end);
	pthread_mutex_unlock(&k->lock);
}

void kernel_send(struct kernel *k, uint32_t opcode, uint64_t nodeid,
                 const void *arg, size_t len)
{
	struct fuse_in_header in = {
	        .len = (uint32_t)(sizeof(in) + len),
	        .opcode = opcode,
	        .unique = ++k->unique * 2,
	        .nodeid = nodeid,
	        .uid = k->uid,
	        .gid = fixture_cred.gid,
	        .pid = k->pid,
	};
	struct iovec iov[2] = {
	        {&in, sizeof(in)},
	        {(void *)(uintptr_t)arg, len},
	};

	assert_int_equal(writev(k->fd, iov, 2), in.len);
}

static void note_forgotten(struct kernel *k)
{
	struct fuse_notify_inval_inode_out out;

	memcpy(&out, k->data, sizeof(out));
	k->forgotten = out.ino;
	if (out.off >= 0 && out.ino == k->watched) {
		uint64_t end = out.len > 0 ? (uint64_t)(out.off + out.len)
		                           : UINT64_MAX;

		k->dropped++;
		k->dropped_end = MAX(k->dropped_end, end);
	}
}

int kernel_receive(struct kernel *k)
{
	struct fuse_out_header out;
	struct iovec iov[2] = {
	        {&out, sizeof(out)},
	        {k->data, sizeof(k->data)},
	};

	/* Notifications have no number. */
	do {
		ssize_t n = readv(k->fd, iov, 2);

		assert_true(n >= (ssize_t)sizeof(out));
		assert_int_equal(n, out.len);
		k->len = (size_t)n - sizeof(out);
		if (!out.unique && out.error == FUSE_NOTIFY_INVAL_INODE)
			note_forgotten(k);
	} while (out.unique == 0);
	assert_int_equal(out.unique, k->unique * 2);
	assert_true(out.error <= 0);
	return out.error;
}

int kernel_ask(struct kernel *k, uint32_t opcode, uint64_t nodeid,
               const void *arg, size_t len)
{
	kernel_send(k, opcode, nodeid, arg, len);
	return kernel_receive(k);
}

void kernel_mount(struct kernel *k, struct fixture *w, uint64_t state,
                  enum fs_snapdir snapdir)
{
	const struct session_params params = {
	        .state = state,
	        .snapdir = snapdir,
	};

	kernel_mount_with(k, w, &params);
}

void kernel_mount_with(struct kernel *k, struct fixture *w,
                       const struct session_params *given)
{
	struct fuse_init_in init = {
	        .major = FUSE_KERNEL_VERSION,
	        .minor = 38,
	        .flags = FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_DONT_MASK |
	                 FUSE_ATOMIC_O_TRUNC | FUSE_EXPORT_SUPPORT |
	                 FUSE_POSIX_ACL | FUSE_DO_READDIRPLUS |
	                 FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS |
	                 FUSE_NO_OPEN_SUPPORT | FUSE_NO_OPENDIR_SUPPORT,
	};
	struct session_params params = *given;
	struct fuse_init_out init_out;
	/* No answer in all this time: the session hangs. */
	struct timeval patience = {.tv_sec = 60};
	int pair[2];
	uint64_t id;

	*k = (struct kernel){.fd = -1, .uid = fixture_cred.uid};
	pthread_mutex_init(&k->lock, NULL);
	pthread_cond_init(&k->end, NULL);
	assert_int_equal(
	        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	k->fd = pair[0];
	params.fd = pair[1];
	params.mountpoint = "/nowhere";
	params.device = "0:0";
	setsockopt(k->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	assert_int_equal(mounts_init(&k->mounts, w->fs, ended, k), 0);
	assert_int_equal(session_start(&k->mounts, &params, &id), 0);
	assert_int_equal(kernel_ask(k, FUSE_INIT, 0, &init, sizeof(init)), 0);
	memcpy(&init_out, k->data, sizeof(init_out));
	k->agreed = init_out.flags;
}

void kernel_umount(struct kernel *k)
{
	close(k->fd);
	pthread_mutex_lock(&k->lock);
	while (!k->ended)
		pthread_cond_wait(&k->end, &k->lock);
	pthread_mutex_unlock(&k->lock);
	mounts_release(&k->mounts);
	pthread_cond_destroy(&k->end);
	pthread_mutex_destroy(&k->lock);
}
