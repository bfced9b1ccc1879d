/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The newest common versions of two states: join_bases(), which is declared in
 * join_record.h.
 */
#ifndef COPPICE_SNAPSHOT_JOIN_BASE_H
#define COPPICE_SNAPSHOT_JOIN_BASE_H

#include "join_record.h"

#endif
