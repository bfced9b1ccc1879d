/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cancel.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/fuse.h>
#include <signal.h>

#include "loop.h"
#include "util.h"

/*
 * Return true if the thread is about to end.  When any signal ends a process,
 * the kernel makes SIGKILL pending for each thread.
 */
static bool is_dying(uint32_t thread)
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[40], line[128];
	uint64_t pending;

	/* 0: the thread is in a pid namespace that this one cannot see. */
	if (!thread)
		return false;
	snprintf(path, sizeof(path), "/proc/%" PRIu32 "/status", thread);
	f = fopen(path, "re");
	if (!f)
		return errno == ENOENT;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "SigPnd: %" SCNx64, &pending) == 1)
			return pending & UINT64_C(1) << (SIGKILL - 1);
	}
	return false;
}

bool request_cancelled(void)
{
	/* The only interrupt is for the first signal: look again for others. */
	static const int64_t look_ns = 20000000;
	static __thread int64_t looked;
	const struct fuse_in_header *in = loop_request();
	int64_t now;

	if (!in || !loop_interrupted())
		return false;
	now = mono_ns();
	if (now - looked < look_ns)
		return false;
	looked = now;
	return is_dying(in->pid);
}
