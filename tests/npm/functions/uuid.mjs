// uuid: makes identifiers of versions 4, 5 and 7
// => {"v4":true,"v5":"fdda765f-fc57-5604-a269-52a7df8164ec","v7":7}
import { v4, v5, v7, validate, version } from "uuid";

const DNS = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";

export const handler = async () => ({ v4: validate(v4()) && v4() !== v4(), v5: v5("hello.example.com", DNS), v7: version(v7()) });
