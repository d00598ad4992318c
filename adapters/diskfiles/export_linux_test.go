package diskfiles

// Lonely is the option by which the locks of a folder are this machine's own, by a list of mounts.
var Lonely = lonely
