package account

// IsCommon lets a benchmark measure the list alone.
var IsCommon = isCommon
