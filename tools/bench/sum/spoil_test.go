package sum

import (
	"errors"
	"fmt"
	"testing"
)

// What is measured, and which of it is said to be once more, by what became of each cycle: c counts, h spoilt by the host,
// b bad for another reason.
func TestCyclesOnceMore(t *testing.T) {
	for _, c := range []struct {
		planned int
		fates   string
		want    string
	}{
		{2, "cc", "0 1"},
		{1, "hc", "0 1+"},
		{2, "hccc", "0 1 2+"},
		{2, "bc", "0 1"},         // measured again it would be as bad
		{1, "hbc", "0 1+"},       // and so is what was bad once more
		{1, "hhhhhh", "0 1+ 2+"}, // a host that takes time away for minutes
		{2, "hhhhhh", "0 1 2+ 3+"},
	} {
		got := ""
		err := Cycles(c.planned, func(cycle int, again bool) (bool, error) {
			got += fmt.Sprintf(" %d%s", cycle, map[bool]string{true: "+"}[again])
			return c.fates[cycle] == 'h', nil
		})
		if err != nil || got != " "+c.want {
			t.Errorf("%d planned, %q: measured%s, %v; want %s", c.planned, c.fates, got, err, c.want)
		}
	}
	broken := errors.New("refused")
	if err := Cycles(3, func(int, bool) (bool, error) { return false, broken }); !errors.Is(err, broken) {
		t.Errorf("a cycle that fails: %v", err)
	}
}
