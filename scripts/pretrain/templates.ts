// Short informal texts with places for names, written for this project. `{person}` and the like are filled with names,
// `{x|y}` with one of its words; what is left is no name.

export const TEMPLATES = `
{person} is so {funny|cute|annoying|talented} {lol|haha|omg|}
just saw {person} at the {mall|airport|gym|store} {!|!!|}
happy birthday {person} {!|!!!|<3}
can't believe {person} {left|won|quit|said that}
i {love|hate|miss} {person} so much
why is {person} always like this {?|smh}
{person} and {person} are the best {couple|team|duo} ever
me and {person} going to {location} {tonight|tomorrow|next week}
{person} just posted a new {video|pic|song}
anyone going to see {person} in {location} {?|this weekend?}
so {person} told {person} that i was {late|wrong|crazy}
poor {person} {:(|...|lol}
thank you {person} for the {amazing|great|lovely} {video|day|show}
{person} for president {!|lol|}
looks like {person} from {work}
{person} reminds me of {person}
that was {person} 's {idea|fault|best work}
RT {handle} : {person} says {org} will {close|open|cut jobs} in {location}
{handle} have you heard from {person} {?|lately?}
{handle} i 'm at {person} 's {house|place} call me
my {mom|dad|boss|friend} {person} is {here|funny|leaving}
{person} , you need to {stop|calm down|see this}
watching {person} on {work} right now
{person} killed it on {work} last night
interview with {person} of {org} {url|}
{person} scores again for {group} {!|!!!}
{person} just signed with {group}
{person} , who lives in {location} , {said|told reporters|added} that it was over .
police say {person} , 34 , was {found|arrested|last seen} near {location} .
Mr. {person} said on {Monday|Friday|Sunday} that {org} had no comment .
President {person} arrived in {location} on {Tuesday|Thursday} .
The {mayor|governor|president} of {location} , {person} , resigned .
According to {person} , a {spokesman|lawyer|analyst} for {org} , sales fell in {location} .
live from {location} {!|:)|}
i {miss|love|hate} {location}
heading to {location} {tomorrow|in the morning|with the girls} {!|}
it is so {cold|hot|rainy} in {location} {today|right now|}
i want to move to {location}
who is in {location} {tonight|this weekend} {?|??}
just landed in {location} {!|:D}
back in {location} after {two weeks|a long day}
traffic on {location} is {crazy|horrible}
best {pizza|tacos|coffee} in {location}
{fire|accident|storm} in {location} , {two|three|12} {injured|dead} {url|}
any good {bars|places to eat} near {location} {?|}
my flight from {location} to {location} got {cancelled|delayed}
born and raised in {location}
the people of {location} {deserve|want} {better|peace}
{location} is {beautiful|amazing|boring} this time of year
meet me at {location} at {5|noon|8pm}
hotel in {location} , {location} was {great|dirty|ok}
greetings from {location} {!|:)}
we drove all the way to {location}
{org} {sucks|is down again|has the worst service|is hiring}
just got a job at {org} {!!|:)|}
{org} shares {rise|fall} {3|5|10} percent {url|}
{org} to buy {org} for {1|2.5|40} billion
{org} just {announced|released|killed} {product}
called {org} and waited {an hour|40 minutes} on hold
lunch at {org} with {person}
anyone else having problems with {org} {?|today?}
i bought it at {org} {for 5 bucks|yesterday}
i saw it on {org} {yesterday|}
follow us on {org} {!|and win}
{org} and {org} are {fighting|merging|both bad}
new {org} store opening in {location}
my {org} order is late {again|:(}
the {org} in {location} is {closed|packed|so clean}
working for {org} since {2009|2012}
{group} won {!|last night|!!!}
{group} vs {group} {tonight|at 8}
go {group} {!|!!!}
{group} are playing in {location} {on friday|tonight}
i 'm listening to {group} {all day|on repeat|}
got tickets for {group} {!!!|:D}
{group} beat {group} {3 - 1|in overtime|again}
{group} 's new {album|single} is {fire|so good|trash}
members of {group} {attacked|met in|left} {location}
are {group} any good this {year|season} {?|}
{group} 's {coach|singer|drummer} {person} {quit|is sick}
need a new {product} {asap|for school}
my {product} {died|broke|is so slow} {:(|again|}
just got the {product} {!|and i love it}
is the {product} better than the {product} {?|}
{product} review : {great|not bad|skip it} {url|}
giving away a {product} {, rt to win|!}
i 'm {eating|drinking|craving} {product} {right now|lol}
driving my {product} to {location}
i use {product} every day for my {hair|skin|work}
{product} is out now on {org}
typing this on my {product}
{org} {product} {for sale|deals|on sale} {$ 99|$ 250|} {url|}
can't wait for the {product} {!|to come out}
watching {work} {right now|with my mom|again|lol}
have you seen {work} {?|yet?}
{work} is {the best movie|my favorite show|so overrated|on tv} {!|}
{work} tonight with {person} {!!|}
just finished {reading|watching} {work}
listening to {work} by {person}
listening to {work} by {group}
new episode of {work} {tonight|is up} {!|}
{work} made me cry {:(|so hard|}
the {ending|trailer|cast} of {work} {was|is} {great|so bad}
played {work} all night
{person} 's new {song|book|movie} {work} {is out|drops friday}
now playing : {work} - {person}
{work} ( {2003|2011} ) is on {org}
i 'm reading {work} for class
who else {loves|remembers} {work} {?|??}
that {scene|song} from {work} {is stuck in my head|lol}
i can't {sleep|stop laughing|even} {lol|smh|:(|}
good morning {everyone|world|twitter|}
so {tired|bored|hungry} right now {...|lol|}
what a {day|night|game|week} {!|...}
i {need|want} {coffee|a hug|new shoes|a vacation} {:(|lol|asap}
{handle} {lol|thanks|yes|no way|haha} {!|that was funny|i know right|}
{handle} {handle} {you guys are great|see you tomorrow|love this}
{hashtag} {hashtag} {hashtag}
so excited for {tonight|tomorrow|the weekend} {hashtag}
this is {crazy|the best thing ever|so true} {hashtag|url}
my {phone|car|laptop|dog} {died|is so slow|broke} {again|:(|}
the {movie|show|game|food} was {great|so bad|ok} {!|...|}
{why|when} do {people|guys|girls} {lie|text back late|do this} {?|??}
New {Year|Week|Month} , New {Me|Goals}
Top {10|5|20} {Tips|Ways|Reasons} To {Lose Weight|Save Money|Be Happy} {url|}
Breaking News : {Storm|Fire|Police} {Update|Warning} {url|}
I LOVE {THIS|YOU|IT} {SO MUCH|!!!}
OMG {THIS IS SO GOOD|I CAN'T|WHAT} {!!!|}
How To {Make Money|Get Started|Cook Rice} {Online|At Home|Fast} {url|}
Happy {Monday|Friday|Birthday|Holidays} {!|everyone|to you}
see you {Monday|on Tuesday|in June} {!|:)}
{Yes|No|Well|Wow|Damn|Dude} , {that is|this is} {so wrong|hilarious|not ok} .
{The|This|That} {Best|Worst} {Day|Night} {Ever|Of My Life}
just posted a photo {url}
thanks for the follow {!|:)} {url|}
check out my new {video|blog|post} {url}
{The|A} {man|woman|driver|teacher} {was|has been} {arrested|taken to hospital|released} on {Monday|Friday} .
I 've been {here|sick|working} for {two|three} {days|hours|weeks} .
{Great|Nice|Good} {video|work|job} {!|, keep it up|bro}
`
  .trim()
  .split('\n')
