/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The statx request, which libfuse does not pass on. */
#ifndef COPPICE_STATX_H
#define COPPICE_STATX_H

#include "session.h"

/* If the request is a statx, reply to it and return true. */
bool statx_answer(struct session *session, const void *request, size_t len);

#endif
