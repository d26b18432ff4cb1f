package promtest

import (
	"testing"

	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

func TestX(t *testing.T) {
	_ = parser.NewParser
	_ = rulefmt.ParseFile
}
