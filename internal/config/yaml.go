package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxSize bounds a configuration file in bytes: the parser's time grows with the square of the number of keys.
const maxSize = 1 << 20

// maxDepth bounds how deep brackets and dashes may nest; the parser recurses on them.
const maxDepth = 100

// span is a place in the file: a line, a column and how many characters from there. The zero value is no place.
type span struct{ line, col, width int }

// source is the text of a file, to be quoted in errors.
type source struct {
	file  string
	lines []string
}

func newSource(file string, data []byte) *source {
	return &source{file: file, lines: strings.Split(string(data), "\n")}
}

// fault returns an error at a place, which is moved into the file if it is not.
func (s *source) fault(at span, path, msg, hint string) Error {
	line := min(max(at.line, 1), len(s.lines))
	return Error{File: s.file, Line: line, Col: max(at.col, 1), Path: path, Msg: printable(msg), Hint: printable(hint), source: s.lines[line-1], width: at.width}
}

// printable puts a space for every character that a terminal would act on.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
}

// parseYAML returns the one document's top node, or the one error that stopped the parser.
func (s *source) parseYAML(data []byte) (body ast.Node, fault *Error) {
	fail := func(at span, msg, hint string) (ast.Node, *Error) {
		e := s.fault(at, "", msg, hint)
		return nil, &e
	}
	if len(data) > maxSize {
		return fail(span{}, fmt.Sprintf("the file has more than %d bytes", maxSize), "")
	}
	if at, ok := invalidUTF8(data); ok {
		return fail(at, "the file is not UTF-8 text", "save it as UTF-8")
	}
	file, err := parseBytes(data)
	var syntax yaml.Error
	switch {
	case errors.As(err, &syntax):
		at, hint := tokenSpan(syntax.GetToken()), ""
		if strings.Contains(syntax.GetMessage(), "'\t'") {
			return fail(at, "a tab cannot indent or begin a value", "use spaces")
		}
		if strings.Contains(syntax.GetMessage(), "mapping value is not allowed") {
			hint = "check the indentation and quote a value that contains \": \""
		}
		return fail(at, "not valid YAML: "+syntax.GetMessage(), hint)
	case err != nil:
		return fail(span{}, "not valid YAML: "+err.Error(), "")
	case len(file.Docs) > 1:
		return fail(docSpan(file.Docs[1]), "a second document begins here", "write everything in one document, without ---")
	case len(file.Docs) == 0 || file.Docs[0].Body == nil:
		return fail(span{}, "the file is empty", "config.yaml.example shows every key")
	}
	return file.Docs[0].Body, nil
}

// parseBytes calls the parser. Whatever it panics with becomes an error: a file must not stop the process.
func parseBytes(data []byte) (f *ast.File, err error) {
	defer func() {
		if r := recover(); r != nil {
			f, err = nil, fmt.Errorf("the parser gave up: %v", r)
		}
	}()
	tokens := lexer.Tokenize(string(data))
	if deep := tooDeep(tokens); deep != nil {
		return nil, &yaml.SyntaxError{Message: fmt.Sprintf("nested more than %d deep", maxDepth), Token: deep}
	}
	return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey()) // duplicates are found with the other errors
}

// tooDeep returns the token that goes past maxDepth, if there is one.
func tooDeep(tokens token.Tokens) *token.Token {
	flow, dashes, line := 0, 0, 0
	for _, t := range tokens {
		if t.Position != nil && t.Position.Line != line {
			line, dashes = t.Position.Line, 0
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType:
			dashes++
		}
		if flow > maxDepth || dashes > maxDepth {
			return t
		}
	}
	return nil
}

// invalidUTF8 finds the first byte that is not part of a UTF-8 character.
func invalidUTF8(data []byte) (span, bool) {
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n == 1 {
			line := bytes.Count(data[:i], []byte("\n"))
			begin := bytes.LastIndexByte(data[:i], '\n') + 1
			return span{line + 1, utf8.RuneCount(data[begin:i]) + 1, 1}, true
		}
		i += n
	}
	return span{}, false
}

func docSpan(d *ast.DocumentNode) span {
	if d.Start != nil {
		return tokenSpan(d.Start)
	}
	if d.Body != nil {
		return nodeSpan(d.Body)
	}
	return span{}
}

// nodeSpan is where a node begins: a mapping's first key, a scalar's first character.
func nodeSpan(n ast.Node) span {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return nodeSpan(n.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return nodeSpan(n.Key)
	case nil:
		return span{}
	}
	return tokenSpan(n.GetToken())
}

// tokenSpan covers a token as it is written, on its first line.
func tokenSpan(t *token.Token) span {
	if t == nil || t.Position == nil {
		return span{}
	}
	text := strings.TrimSpace(t.Origin)
	if text == "" {
		text = t.Value
	}
	text, _, _ = strings.Cut(text, "\n")
	return span{t.Position.Line, t.Position.Column, max(1, utf8.RuneCountInString(text))}
}
