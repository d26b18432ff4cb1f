package advise

import (
	"math"
	"strings"
	"testing"
)

func TestParseProducer(t *testing.T) {
	for text, want := range map[string]Producer{"a=0.7": {"a", 0.7}, "a=70%": {"a", 0.7}, "a/x=3": {"a/x", 3}, "a=-1": {"a", -1}} {
		if got, err := ParseProducer(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "a", "=1", "a=", "a=much", "a=1%%", "a=1=2"} {
		if got, err := ParseProducer(text); err == nil || !strings.Contains(err.Error(), "want REGION=SHARE") {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

func TestWeigh(t *testing.T) {
	got, err := Weigh([]Producer{{"a", 3}, {"b", 0}, {"c", 1}})
	if err != nil || len(got) != 3 || got[0] != (Producer{"a", 0.75}) || got[1].Share != 0 || got[2].Share != 0.25 {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := Weigh(nil); err != nil || len(got) != 0 {
		t.Errorf("nobody: %+v, %v", got, err)
	}
	for _, c := range []struct {
		in   []Producer
		want string
	}{
		{[]Producer{{"a", -1}, {"b", 2}}, "a has a weight of -1: want 0 or more"},
		{[]Producer{{"a", math.NaN()}}, "a has a weight of NaN"},
		{[]Producer{{"a", math.Inf(1)}}, "a has a weight of +Inf"},
		{[]Producer{{"a", 0}, {"b", 0}}, "no weight is above 0"},
	} {
		if got, err := Weigh(c.in); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %+v, %v, want %q", c.in, got, err, c.want)
		}
	}
}
