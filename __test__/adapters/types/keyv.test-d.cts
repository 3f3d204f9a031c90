import { Keyv } from 'keyv';
import { KeyvStore } from 'lru-cache-for-clusters-as-promised/keyv';

const keyv = new Keyv({ store: new KeyvStore({ max: 10 }) });
void keyv.get<number>('a').then((value: number | undefined) => value);
