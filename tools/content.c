/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "content.h"

#include <errno.h>
#include <stdint.h>

#include "base64.h"
#include "util.h"

bool content_is_row(const json_t *row)
{
	return json_object_get(row, "data") || json_object_get(row, "hole");
}

static int write_all(int fd, const uint8_t *data, size_t len)
{
	while (len) {
		ssize_t done = write(fd, data, len);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		data += done;
		len -= (size_t)done;
	}
	return 0;
}

static int hole_write(int fd, uint64_t len, bool sparse)
{
	static const uint8_t zeros[65536];
	int r = 0;

	if (sparse)
		return lseek(fd, (off_t)len, SEEK_CUR) < 0 ? -errno : 0;
	while (!r && len) {
		size_t part = MIN(len, sizeof(zeros));

		r = write_all(fd, zeros, part);
		len -= part;
	}
	return r;
}

int content_write(int fd, const json_t *row, bool sparse)
{
	const json_t *hole = json_object_get(row, "hole");
	_cleanup_free_ uint8_t *data = NULL;
	size_t len;
	int r;

	if (hole)
		return hole_write(fd, (uint64_t)json_integer_value(hole),
		                  sparse);
	r = base64_decode(json_object_get(row, "data"), &data, &len);
	return r ? r : write_all(fd, data, len);
}
