/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Valid UTF-8 stays as it is; any other byte B (128 to 255) becomes the private
 * character U+EF00 + B.  If a name has such a character, its three bytes are
 * escaped one by one, so that every string stands for one name.
 */
#include "escaped_name.h"

#include <errno.h>

#include "utf8.h"
#include "util.h"

static bool is_escape(uint32_t c)
{
	return c >= 0xef80 && c <= 0xefff;
}

json_t *name_escape(const char *name)
{
	const unsigned char *p = (const unsigned char *)name;
	size_t len = strlen(name), out_len = 0;
	_cleanup_free_ char *out = malloc(len * 3 + 1);

	if (!out)
		return NULL;
	while (len) {
		uint32_t c = 0;
		size_t n = utf8_decode(p, len, &c);

		if (n && !is_escape(c)) {
			memcpy(out + out_len, p, n);
			out_len += n;
		} else {
			n = 1;
			c = 0xef00u + *p;
			out[out_len++] = (char)(0xe0 | c >> 12);
			out[out_len++] = (char)(0x80 | (c >> 6 & 0x3f));
			out[out_len++] = (char)(0x80 | (c & 0x3f));
		}
		p += n;
		len -= n;
	}
	return json_stringn(out, out_len);
}

int name_unescape(const json_t *text, char *ret_name, size_t size)
{
	const unsigned char *p = (const unsigned char *)json_string_value(text);
	size_t len = json_string_length(text), out_len = 0;
	_cleanup_free_ char *out = malloc(len + 1);

	if (!p)
		return -EINVAL;
	if (!out)
		return -ENOMEM;
	while (len) {
		uint32_t c = 0;
		size_t n = utf8_decode(p, len, &c);

		if (n == 0 || c == 0)
			return -EINVAL;
		if (is_escape(c)) {
			out[out_len++] = (char)(c & 0xff);
		} else {
			memcpy(out + out_len, p, n);
			out_len += n;
		}
		p += n;
		len -= n;
	}
	if (out_len >= size)
		return -ENAMETOOLONG;
	memcpy(ret_name, out, out_len);
	ret_name[out_len] = 0;
	return 0;
}
