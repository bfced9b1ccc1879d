/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A check that cmocka 2 has under another name than cmocka 1. */
#ifndef COPPICE_RANGE_H
#define COPPICE_RANGE_H

/* Both bounds belong to the range; to be included after cmocka.h. */
#ifndef assert_uint_in_range
#define assert_uint_in_range(value, min, max) assert_in_range(value, min, max)
#endif

#endif
