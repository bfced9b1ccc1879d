/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Valid UTF-8 stays as it is; any other byte B (128 to 255) becomes the private
 * character U+EF00 + B.  If a name has such a character, its three bytes are
 * escaped one by one, so that every string stands for one name.
 */
#include "escaped_name.h"

#include <errno.h>

#include "util.h"

/*
 * Decode the UTF-8 sequence at p into *ret_char.  Return its length; 0: it is
 * not valid.
 */
static size_t utf8_decode(const unsigned char *p, size_t len,
                          uint32_t *ret_char)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t need = p[0] < 0x80             ? 1
	              : (p[0] & 0xe0) == 0xc0 ? 2
	              : (p[0] & 0xf0) == 0xe0 ? 3
	              : (p[0] & 0xf8) == 0xf0 ? 4
	                                      : 0;
	uint32_t c = need == 1 ? p[0] : p[0] & (0x7f >> need);

	if (need == 0 || need > len)
		return 0;
	for (size_t i = 1; i < need; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (c < least[need] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	*ret_char = c;
	return need;
}

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
