/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "export_content.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util.h"

enum { PART = 128 << 10 }; /* bytes that are compared or copied at once */

int export_content_create(struct export_content *c, int dir, const char *name)
{
	*c = (struct export_content){.dir = dir, .name = name, .old = -1};
	c->fd = openat(dir, name,
	               O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
	               0600);
	return c->fd < 0 ? -errno : 0;
}

void export_content_compare(struct export_content *c, int dir, const char *name,
                            int old, bool dry_run)
{
	*c = (struct export_content){.dir = dir,
	                             .name = name,
	                             .fd = -1,
	                             .old = old,
	                             .dry_run = dry_run};
}

void export_content_close(struct export_content *c)
{
	close_fd(&c->fd);
	close_fd(&c->old);
	c->fd = c->old = -1;
}

static int write_all(struct export_content *c, uint64_t at, const uint8_t *data,
                     size_t len)
{
	while (len) {
		ssize_t n = pwrite(c->fd, data, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		c->written += (size_t)n;
		data += n;
		at += (size_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* Read until the buffer is full or the file ends.  Return the byte count. */
static ssize_t read_all(int fd, uint64_t at, uint8_t *data, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n =
		        pread(fd, data + done, len - done, (off_t)(at + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

/* ---- Copying ------------------------------------------------------------ */

/* Copy a range of the old file that has data. */
static int range_copy(struct export_content *c, uint64_t at, uint64_t end)
{
	_cleanup_free_ uint8_t *data = malloc(PART);
	int err = data ? 0 : -ENOMEM;

	while (!err && at < end) {
		ssize_t n = read_all(c->old, at, data,
		                     (size_t)MIN(end - at, (uint64_t)PART));

		/* 0: the file was truncated meanwhile. */
		if (n <= 0)
			return n ? (int)n : -ESTALE;
		err = write_all(c, at, data, (size_t)n);
		at += (uint64_t)n;
	}
	return err;
}

/* Copy the old file up to c->at, with its holes. */
static int equal_copy(struct export_content *c)
{
	uint64_t at = 0;
	int err = 0;

	while (!err && at < c->at) {
		off_t data = lseek(c->old, (off_t)at, SEEK_DATA), hole;

		if (data < 0 && errno == ENXIO)
			return 0;
		/* The file system does not support SEEK_DATA: copy it all. */
		if (data < 0)
			return range_copy(c, at, c->at);
		hole = lseek(c->old, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		at = MIN((uint64_t)hole, c->at);
		if ((uint64_t)data < at)
			err = range_copy(c, (uint64_t)data, at);
	}
	return err;
}

int export_content_copy(struct export_content *c)
{
	struct export_content new;
	int err;

	c->differs = true;
	if (c->fd >= 0 || c->dry_run)
		return 0;
	err = export_content_create(&new, c->dir, c->name);
	if (err)
		return err;
	c->fd = new.fd;
	return equal_copy(c);
}

/* ---- Comparing ---------------------------------------------------------- */

/*
 * Compare a part of the old file with data, or with zeros (NULL).  Return 1 if
 * it is equal, 0 if not, or an error.
 */
static int part_is_equal(const struct export_content *c, uint64_t at,
                         const uint8_t *data, size_t len, uint8_t *buffer)
{
	ssize_t n = read_all(c->old, at, buffer, len);

	if (n < 0)
		return (int)n;
	if ((size_t)n < len)
		return 0;
	if (data)
		return !memcmp(buffer, data, len);
	return !len || (!buffer[0] && !memcmp(buffer, buffer + 1, len - 1));
}

/* Compare c->at to `end`, and advance c->at over the equal part. */
static int range_compare(struct export_content *c, const uint8_t *data,
                         uint64_t end)
{
	_cleanup_free_ uint8_t *buffer = malloc(PART);

	if (!buffer)
		return -ENOMEM;
	while (c->at < end) {
		size_t part = (size_t)MIN(end - c->at, (uint64_t)PART);
		int r;

		/* Skip holes of the old file instead of reading them. */
		if (!data) {
			off_t next = lseek(c->old, (off_t)c->at, SEEK_DATA);

			if (next < 0 && errno == ENXIO)
				next = (off_t)end;
			if (next > (off_t)c->at) {
				c->at = MIN((uint64_t)next, end);
				continue;
			}
		}
		r = part_is_equal(c, c->at, data, part, buffer);
		/* Replace the file, too, if it cannot be read. */
		if (r <= 0)
			return export_content_copy(c);
		c->at += part;
		data = data ? data + part : NULL;
	}
	return 0;
}

int export_content_write(struct export_content *c, uint64_t at,
                         const uint8_t *data, size_t len)
{
	int err = 0;

	if (at < c->at)
		return -EPROTO;
	if (!c->differs && c->old >= 0)
		err = range_compare(c, NULL, at);
	if (!err && !c->differs && c->old >= 0) {
		err = range_compare(c, data, at + len);
		/* Leave out the equal part of the data: it was copied. */
		if (!err && c->differs) {
			data += c->at - at;
			len -= c->at - at;
			at = c->at;
		}
	}
	if (!err && c->fd >= 0)
		err = write_all(c, at, data, len);
	c->at = at + len;
	return err;
}

int export_content_end(struct export_content *c, uint64_t size)
{
	int err = 0;

	if (!c->differs && c->old >= 0)
		err = range_compare(c, NULL, size);
	if (!err && c->fd >= 0 && ftruncate(c->fd, (off_t)size) < 0)
		err = -errno;
	return err;
}
