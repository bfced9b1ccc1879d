/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The request "join": bring the changes of a state into a fork. */
#ifndef COPPICE_CONTROL_JOIN_H
#define COPPICE_CONTROL_JOIN_H

#include "control_verb.h"

int control_join(struct control *c);

#endif
