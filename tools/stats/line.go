package stats

import "fmt"

// Line is y = A + B·x.
type Line struct {
	A, B      float64
	Residuals []float64 // y minus what the line says, in the order of the points
}

// FitLine fits a line through points by least squares: at least two, not all at one x.
func FitLine(x, y []float64) (Line, error) {
	if len(x) != len(y) || len(x) < 2 {
		return Line{}, fmt.Errorf("stats: a line through %d and %d coordinates: want as many of both, at least two", len(x), len(y))
	}
	n, meanX, meanY := float64(len(x)), 0.0, 0.0
	for i := range x {
		meanX, meanY = meanX+x[i]/n, meanY+y[i]/n
	}
	var xx, xy float64
	for i := range x {
		xx, xy = xx+(x[i]-meanX)*(x[i]-meanX), xy+(x[i]-meanX)*(y[i]-meanY)
	}
	if xx == 0 {
		return Line{}, fmt.Errorf("stats: all %d points are at x = %v: want two places at least", len(x), x[0])
	}
	l := Line{B: xy / xx}
	l.A = meanY - l.B*meanX
	for i := range x {
		l.Residuals = append(l.Residuals, y[i]-l.A-l.B*x[i])
	}
	return l, nil
}
