/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "control_address.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

void control_address(int dir, struct sockaddr_un *ret_address)
{
	*ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
	/* The path of the store may be too long for a socket address. */
	snprintf(ret_address->sun_path, sizeof(ret_address->sun_path),
	         "/proc/self/fd/%d/control", dir);
}

int control_address_abstract(int dir, struct sockaddr_un *ret_address,
                             socklen_t *ret_len)
{
	struct stat st;
	int len;

	if (fstatat(dir, "data.mdb", &st, 0) < 0)
		return -errno;
	*ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
	len = snprintf(ret_address->sun_path + 1,
	               sizeof(ret_address->sun_path) - 1, "coppice/%ju:%ju",
	               (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	*ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
	                       (size_t)len);
	return 0;
}
