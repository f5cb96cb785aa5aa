package load

import (
	"strconv"
	"strings"
)

// agent is the User-Agent field of every request.
const agent = "nearcast-bench"

// authority is the Host field or :authority: the URL's, or what the Host among the fields says.
func (p *plan) authority() string {
	for _, f := range p.Header {
		if strings.EqualFold(f.Name, "host") {
			return f.Value
		}
	}
	return p.url.Host
}

// fields are the fields of every request besides Host and the pseudo-fields, with lower-case names.
func (p *plan) fields() (list []Field) {
	own := Field{"user-agent", agent}
	for _, f := range p.Header {
		name := strings.ToLower(f.Name)
		switch name {
		case "host":
			continue
		case own.Name:
			own.Value = f.Value
			continue
		}
		list = append(list, Field{name, f.Value})
	}
	list = append([]Field{own}, list...)
	if p.BodySize > 0 || p.Method == "POST" || p.Method == "PUT" || p.Method == "PATCH" {
		list = append(list, Field{"content-length", strconv.Itoa(p.BodySize)})
	}
	return list
}
