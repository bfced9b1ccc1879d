/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base64.h"

#include <errno.h>
#include <string.h>

#include "util.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                             "abcdefghijklmnopqrstuvwxyz0123456789+/";

json_t *base64_encode(const uint8_t *data, size_t len)
{
	_cleanup_free_ char *text = malloc((len + 2) / 3 * 4 + 1);
	char *out = text;

	if (!text)
		return NULL;
	for (size_t i = 0; i < len; i += 3) {
		size_t left = len - i;
		uint32_t bits = (uint32_t)data[i] << 16;

		if (left > 1)
			bits |= (uint32_t)data[i + 1] << 8;
		if (left > 2)
			bits |= data[i + 2];
		*out++ = digits[bits >> 18];
		*out++ = digits[bits >> 12 & 63];
		*out++ = left > 1 ? digits[bits >> 6 & 63] : '=';
		*out++ = left > 2 ? digits[bits & 63] : '=';
	}
	return json_stringn_nocheck(text, (size_t)(out - text));
}

/* Return the value of a digit; -1: not a digit. */
static int digit_value(char c)
{
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/*
 * Decode four digits and return the number of bytes.  The last group may end in
 * one or two '='.
 */
static int group_decode(const char *text, bool last, uint8_t *out)
{
	size_t count = 3;
	uint32_t bits = 0;

	if (last && text[3] == '=')
		count = text[2] == '=' ? 1 : 2;
	for (size_t i = 0; i < 4; i++) {
		int value = i <= count ? digit_value(text[i]) : 0;

		if (value < 0)
			return -EINVAL;
		bits = bits << 6 | (uint32_t)value;
	}
	for (size_t i = 0; i < count; i++)
		out[i] = (uint8_t)(bits >> (16 - 8 * i));
	return (int)count;
}

int base64_decode(const json_t *text, uint8_t **ret_data, size_t *ret_len)
{
	const char *from = json_string_value(text);
	size_t len = json_string_length(text), at = 0;
	_cleanup_free_ uint8_t *data = NULL;

	if (!from || len % 4)
		return -EINVAL;
	data = malloc(len / 4 * 3 + 1);
	if (!data)
		return -ENOMEM;
	for (size_t i = 0; i < len; i += 4) {
		int count = group_decode(from + i, i + 4 == len, data + at);

		if (count < 0)
			return count;
		at += (size_t)count;
	}
	*ret_data = steal(&data);
	*ret_len = at;
	return 0;
}
