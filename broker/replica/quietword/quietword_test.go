package quietword

import (
	"bytes"
	"testing"
)

func TestWord(t *testing.T) {
	for _, w := range []Word{{Ask, 1, 2}, {Now, 1<<64 - 1, 1 << 40}} {
		if got, ok := Parse(w.Bytes()); !ok || got != w {
			t.Errorf("%+v becomes %+v, %t", w, got, ok)
		}
	}
	whole := Word{Ask, 3, 4}.Bytes()
	for _, b := range [][]byte{nil, whole[:8], whole[:16], append(whole, 0), append([]byte("r"), whole[1:]...)} {
		if w, ok := Parse(b); ok {
			t.Errorf("% x is taken for %+v", b, w)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(Word{Ask, 1, 2}.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		if w, ok := Parse(b); ok && !bytes.Equal(w.Bytes(), b) {
			t.Errorf("% x is %+v, which is % x", b, w, w.Bytes())
		}
	})
}
