/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The request "clone": copy a subtree within the store. */
#ifndef COPPICE_CONTROL_CLONE_H
#define COPPICE_CONTROL_CLONE_H

#include "control_verb.h"

int control_clone(struct control *c);

#endif
