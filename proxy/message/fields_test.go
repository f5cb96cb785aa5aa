package message

import (
	"slices"
	"testing"
)

func TestSetReplacesEveryLineAtThePlaceOfTheFirst(t *testing.T) {
	f := Fields{{"a", "1"}, {"b", "2"}, {"a", "3"}, {"c", "4"}, {"a", "5"}}
	f.Set("a", "x")
	if want := (Fields{{"a", "x"}, {"b", "2"}, {"c", "4"}}); !slices.Equal(f, want) {
		t.Errorf("got %v, want %v", f, want)
	}
	f.Set("d", "new")
	if f.Get("d") != "new" || len(f) != 4 {
		t.Errorf("setting an absent field must append it: %v", f)
	}
}

func TestDelRemovesInPlaceAndKeepsOrder(t *testing.T) {
	f := Fields{{"a", "1"}, {"b", "2"}, {"a", "3"}}
	f.Del("a")
	if want := (Fields{{"b", "2"}}); !slices.Equal(f, want) {
		t.Errorf("got %v, want %v", f, want)
	}
	f.Del("absent")
	if len(f) != 1 {
		t.Errorf("deleting an absent field changed the section: %v", f)
	}
}

func TestLinesOfOneNameStayApart(t *testing.T) {
	var f Fields
	f.Add("set-cookie", "a=1")
	f.Add("set-cookie", "b=2")
	if got := f.Values("set-cookie"); !slices.Equal(got, []string{"a=1", "b=2"}) {
		t.Errorf("got %q", got)
	}
	if f.Values("absent") != nil || f.Get("absent") != "" || f.Has("absent") {
		t.Error("an absent field must have no value")
	}
}

func TestCloneSharesNothing(t *testing.T) {
	f := Fields{{"a", "1"}}
	g := f.Clone()
	g.Set("a", "2")
	if f.Get("a") != "1" {
		t.Error("changing the clone changed the original")
	}
	if Fields(nil).Clone() != nil {
		t.Error("the clone of nothing is nothing")
	}
}
