package advise

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ParseProducer reads frankfurt=0.7, frankfurt=70% or tokyo/a=3. Whether the number is one that a share may be is not looked at.
func ParseProducer(text string) (Producer, error) {
	where, value, _ := strings.Cut(text, "=")
	number, percent := strings.CutSuffix(value, "%")
	share, err := strconv.ParseFloat(number, 64)
	if err != nil || where == "" {
		return Producer{}, fmt.Errorf("%q: want REGION=SHARE, such as frankfurt=0.7 or frankfurt=70%%", text)
	}
	if percent {
		share /= 100
	}
	return Producer{Where: where, Share: share}, nil
}

// Weigh takes the numbers as weights, of any sum, and returns shares. Errors say which weight cannot be.
func Weigh(producers []Producer) ([]Producer, error) {
	sum := 0.0
	var errs []error
	for _, p := range producers {
		if !(p.Share >= 0) || math.IsInf(p.Share, 0) {
			errs = append(errs, fmt.Errorf("%s has a weight of %v: want 0 or more", p.Where, p.Share))
		}
		sum += p.Share
	}
	if len(errs) == 0 && len(producers) > 0 && !(sum > 0) {
		errs = append(errs, errors.New("no weight is above 0: want at least one"))
	}
	out := make([]Producer, len(producers))
	for i, p := range producers {
		out[i] = Producer{p.Where, p.Share / sum}
	}
	return out, errors.Join(errs...)
}
