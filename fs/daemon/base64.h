/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Bytes as JSON strings, in base64 (RFC 4648). */
#ifndef COPPICE_BASE64_H
#define COPPICE_BASE64_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/* Return the bytes as a JSON string; NULL: no memory. */
json_t *base64_encode(const uint8_t *data, size_t len);
/*
 * Decode a JSON string; *ret_data is to be freed.  -EINVAL: not a string, or
 * not base64; -ENOMEM.
 */
int base64_decode(const json_t *text, uint8_t **ret_data, size_t *ret_len);

#endif
