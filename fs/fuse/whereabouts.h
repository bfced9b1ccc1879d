/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The positions of this process's threads, for the log.
 */
#ifndef COPPICE_WHEREABOUTS_H
#define COPPICE_WHEREABOUTS_H

/*
 * Log a line for each thread: its id and name, the kernel function it waits in,
 * and the addresses of this program on its stack, newest first, as offsets for
 * addr2line(1).  Some of them may be left over from earlier calls.
 */
void whereabouts_log(void);

#endif
