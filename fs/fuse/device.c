/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "device.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <sys/ioctl.h>

#include "util.h"

int device_clone(int fd)
{
	uint32_t from = (uint32_t)fd;
	char path[32];
	int own, err;

	/* /dev may differ from the one where the mount was made. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	own = open(path, O_RDWR | O_CLOEXEC);
	if (own < 0)
		return -errno;
	if (ioctl(own, FUSE_DEV_IOC_CLONE, &from) < 0) {
		err = -errno;
		close(own);
		return err;
	}
	return own;
}

int device_refuse(int fd, int err, void *buf, size_t size)
{
	const struct fuse_in_header *in = buf;
	struct fuse_out_header out = {.len = sizeof(out), .error = err};
	ssize_t n = read(fd, buf, size);

	if (n < 0)
		return -errno;
	if (n < (ssize_t)sizeof(*in))
		return -ENODEV;
	out.unique = in->unique;
	/* write() fails for ended requests and those that need no answer. */
	if (out.unique && write(fd, &out, sizeof(out)) < 0)
		log_debug("cannot refuse a request: %s", strerror(errno));
	return 0;
}
