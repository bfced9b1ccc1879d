/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Cancelled requests: the process that made them has been killed.
 */
#ifndef COPPICE_CANCEL_H
#define COPPICE_CANCEL_H

#include <stdbool.h>

/*
 * Return true if the request that the calling worker handles has been
 * cancelled.  Signals that do not kill are ignored, because processes do not
 * expect EINTR from a file.  The call costs nothing until the kernel has sent
 * an interrupt.
 */
bool request_cancelled(void);

#endif
