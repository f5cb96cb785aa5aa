package cache

import (
	"strings"
	"testing"
)

// fieldShapes are values in the shapes that tests of structured fields and of lists are made of: every type of item and its limits, parameters,
// inner lists, white space where it may and may not be, and what is nearly right.
func fieldShapes() []string {
	items := []string{
		// integers and decimals at their limits (RFC 8941 §3.3.1, §3.3.2)
		"0", "-0", "1", "-1", "00", "01", "999999999999999", "-999999999999999", "1000000000000000", "1.0", "-1.5", "1.", ".1", "1.123", "1.1234", "999999999999.999", "9999999999999.9", "--1", "- 1", "1e3", "0x1",
		// strings (§3.3.3)
		`""`, `"a"`, `"a b"`, `"a\"b"`, `"a\\b"`, `"a\b"`, `"a`, `a"`, "\"\t\"", "\"\x7f\"", "\"\x80\"", `"a"b`, `"a""b"`, `'a'`,
		// tokens (§3.3.4)
		"a", "A", "*", "*a", "a:b/c", "a&b!#$%'+-.^_`|~", "a=b", "a\"b", "é", "1a",
		// byte sequences (§3.3.5)
		"::", ":YQ==:", ":YQ:", ":Y Q:", ":YQ==", "YQ==:", ":-_:", ":====:",
		// booleans (§3.3.6), and what later came to dates and display strings
		"?0", "?1", "?2", "?", "?1a", "? 1", "@1659578233", "@-1", "@1.5", `%"caf%c3%a9"`,
		// inner lists (§3.1.1)
		"()", "(a)", "(a b)", "( a  b )", "(a,b)", "(a", "a)", "(a b);x", "(a;x b;y=1)", "((a))", "(\ta)", "",
	}
	keys := []string{"max-age", "a", "*k", "k.-_*9", "A", "1", "-a", "_a", "no-store", "s-maxage", "no-cache", "private"}
	params := []string{"", ";x", ";x=1", "; x=?0", " ;x", ";X", ";x=", ";x;x=2", ";*=\"s\"", ";\tx", ";"}
	joins := []string{",", ", ", " ,", " , ", ",\t", "\t,\t", ",,", ", ,"}
	var out []string
	for i, item := range items {
		key, param, join := keys[i%len(keys)], params[i%len(params)], joins[i%len(joins)]
		out = append(out, item, key+"="+item, "max-age="+item, key+"="+item+param, key+param+join+"max-age="+item, "max-age=60"+join+key+"="+item+param)
	}
	for _, join := range joins {
		out = append(out, "a"+join+"b", join+"a", "a"+join, "max-age=60"+join+"no-store", "max-age=1"+join+"max-age=2", `no-cache="a`+join+`b"`, `"a"`+join+`W/"b"`, "1-2"+join+"-3")
	}
	for _, p := range params {
		out = append(out, "no-store"+p, "max-age=60"+p, "max-age=60"+p+", public")
	}
	for _, space := range []string{" ", "\t", "\n", "\r", "\v", "\u00a0", "\x00"} {
		out = append(out, space+"max-age=60", "max-age=60"+space, "max-age"+space+"=60", "max-age="+space+"60", space, "no-store"+space+", max-age=60")
	}
	for _, n := range []string{"2147483647", "2147483648", "2147483649", "4294967296", "9223372036854775807", "9223372036854775808", "18446744073709551616", strings.Repeat("9", 40)} {
		out = append(out, n, "max-age="+n, "s-maxage="+n, "stale-if-error="+n, "0-"+n, n+"-", "-"+n)
	}
	return out
}

// dateShapes are dates in their three forms, and what is nearly one.
func dateShapes() []string {
	whole := []string{
		"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "Tue, 29 Feb 2000 12:00:00 GMT",
		"Mon, 29 Feb 2100 12:00:00 GMT", "Sat, 30 Feb 2002 00:00:00 GMT", "Sun, 06 Nov 1994 24:00:00 GMT", "Sun, 06 Nov 1994 23:59:60 GMT", "Tuesday, 19-Jan-38 03:14:07 GMT", "Thursday, 31-Dec-50 00:00:00 GMT",
		"Monday, 29-Feb-99 00:00:00 GMT", "Sun Nov 06 08:49:37 1994", "Sun Nov 16 08:49:37 1994", "Wed, 01 Jan 0000 00:00:00 GMT", "0", "-1", "", "1994-11-06T08:49:37Z", "784111777",
	}
	var out []string
	for _, s := range whole {
		out = append(out, s, strings.ToLower(s), strings.ToUpper(s), " "+s, s+" ", strings.Replace(s, " ", "  ", 1), strings.Replace(s, ",", "", 1), strings.Replace(s, "GMT", "UTC", 1), strings.Replace(s, "GMT", "+0000", 1),
			strings.Replace(s, "GMT", "EST", 1), strings.Replace(s, ":37", ":37.5", 1), strings.Replace(s, ":37", "", 1), strings.Replace(s, "06", "6", 1), strings.Replace(s, "Sun", "Mon", 1), s+", "+s)
	}
	return out
}

func TestShapesAreMany(t *testing.T) {
	if n := len(fieldShapes()) + len(dateShapes()); n < 900 {
		t.Errorf("%d", n)
	}
}
