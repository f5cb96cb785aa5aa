package config

import (
	"encoding"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"nearcast/cache"
)

var (
	durationType = reflect.TypeFor[time.Duration]()
	levelType    = reflect.TypeFor[slog.Level]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// textHints say how to write a value whose type parses its own text.
var textHints = map[reflect.Type][2]string{
	reflect.TypeFor[netip.Prefix](): {"an address prefix", "write one such as 192.0.2.0/24 or \"2001:db8::/48\""},
	reflect.TypeFor[netip.Addr]():   {"an IP address", "write one such as 192.0.2.1 or \"2001:db8::1\""},
	reflect.TypeFor[cache.Size]():   {"a size", "write a whole number of bytes, KiB, MiB, GiB or TiB, such as 64MiB"},
}

var levels = []string{"debug", "info", "warn", "error"}

// isScalar reports whether a type is written as a single value.
func isScalar(t reflect.Type) bool {
	if reflect.PointerTo(t).Implements(textType) {
		return true
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Struct, reflect.Map, reflect.Slice, reflect.Array:
		return false
	}
	return true
}

// scalarText is a single value as it is written, without quotes. plain is false when it was in quotes or a block.
func scalarText(n ast.Node) (text string, plain, ok bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, n.Token.Type != token.SingleQuoteType && n.Token.Type != token.DoubleQuoteType, true
	case *ast.LiteralNode:
		return n.Value.Value, false, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true, true
	}
	return "", false, false
}

// scalar fills v from a single value.
func (d *decoder) scalar(n ast.Node, v reflect.Value, path string) {
	text, plain, ok := scalarText(n)
	if !ok {
		hint := ""
		if _, mapping := n.(ast.MapNode); mapping && reflect.PointerTo(v.Type()).Implements(textType) {
			hint = "if the colon belongs to the value, write it in quotes" // [64500:1] is a mapping to YAML
		}
		d.fault(nodeSpan(n), path, "is "+kindOf(n)+", and must be a single value", hint)
		return
	}
	msg, hint := setScalar(v, text, plain)
	if msg != "" {
		d.fault(nodeSpan(n), path, msg, hint)
	}
}

// setScalar parses text into v, or says what is wrong with it.
func setScalar(v reflect.Value, text string, plain bool) (msg, hint string) {
	quoted := strconv.Quote(text)
	switch {
	case v.Type() == durationType:
		return setDuration(v, text)
	case v.Type() == levelType:
		return setLevel(v, text)
	case v.Addr().Type().Implements(textType):
		if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text)); err != nil {
			if h, ok := textHints[v.Type()]; ok {
				return quoted + " is not " + h[0], h[1]
			}
			return err.Error(), ""
		}
		return "", ""
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
		return "", ""
	case reflect.Bool:
		if text != "true" && text != "false" || !plain {
			return quoted + " is not a truth value", "write true or false, without quotes"
		}
		v.SetBool(text == "true")
		return "", ""
	case reflect.Float32, reflect.Float64:
		f, err := strconv.ParseFloat(text, v.Type().Bits())
		if err != nil || !plain || math.IsNaN(f) || math.IsInf(f, 0) {
			return quoted + " is not a number", "write one such as 50.11, without quotes"
		}
		v.SetFloat(f)
		return "", ""
	}
	return setInteger(v, text, plain)
}

func setInteger(v reflect.Value, text string, plain bool) (msg, hint string) {
	digits := strings.TrimPrefix(text, "-")
	if !plain || digits == "" || strings.Trim(digits, "0123456789") != "" || len(digits) > 1 && digits[0] == '0' {
		return strconv.Quote(text) + " is not a whole number", "write decimal digits alone, without quotes"
	}
	bits := v.Type().Bits()
	if v.CanUint() {
		n, err := strconv.ParseUint(text, 10, bits)
		if err != nil {
			return text + " is out of range", fmt.Sprintf("write a number from 0 to %d", uint64(math.MaxUint64)>>(64-bits))
		}
		v.SetUint(n)
		return "", ""
	}
	n, err := strconv.ParseInt(text, 10, bits)
	if err != nil {
		return text + " is out of range", ""
	}
	v.SetInt(n)
	return "", ""
}

func setDuration(v reflect.Value, text string) (msg, hint string) {
	t, err := time.ParseDuration(text)
	if err != nil {
		hint = "write a number with its unit, such as 500ms, 5s or 1h"
		if _, err := strconv.Atoi(text); err == nil {
			hint = "write the unit too: " + text + "s for seconds, " + text + "ms for milliseconds"
		}
		return strconv.Quote(text) + " is not a duration", hint
	}
	if t < 0 {
		return text + " is negative", "write a duration of 0s or more"
	}
	v.SetInt(int64(t))
	return "", ""
}

func setLevel(v reflect.Value, text string) (msg, hint string) {
	for i, l := range levels {
		if text == l {
			v.SetInt(int64(slog.LevelDebug) + int64(i)*4)
			return "", ""
		}
	}
	hint, near := suggest(text, levels)
	if near == "" {
		hint = "write debug, info, warn or error"
	}
	return strconv.Quote(text) + " is not a log level", hint
}
